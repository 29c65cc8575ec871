// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.DType;
import dev.mhc.Fp8;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import org.openjdk.jmh.annotations.Benchmark;

/** E4M3 by tiles of 1 x 128 with fp32 scales, there and back. */
public class Fp8Benchmark extends OperationBenchmark {
  private static final int TILE = 128;

  private Tensor[] src;
  private Tensor[] dst;
  private Tensor[] scale;
  private Tensor[] back;

  @Override
  protected void make() {
    rotate((2 + 1.0 / dtype.bytes()) * width, dtype);
    src = inputs(dtype, tokens, width);
    dst = outputs(DType.FP8_E4M3, tokens, width);
    scale = outputs(DType.FP32, tokens, tiles());
    back = outputs(dtype, tokens, width);
    for (int i = 0; i < src.length; i++) {
      quantize(i);
    }
  }

  private long tiles() {
    return (width + TILE - 1) / TILE;
  }

  private void quantize(int i) {
    Fp8.quantize(src[i], dst[i], scale[i], Fp8.Tile.ROW, Fp8.Rounding.EXACT);
  }

  private void dequantize(int i) {
    Fp8.dequantize(dst[i], scale[i], Fp8.Tile.ROW, back[i]);
  }

  @Override
  protected void check() {
    quantize(0);
    dequantize(0);
    Check.written("dst", dst[0]);
    Check.written("back", back[0]);
    for (int token : Check.tokens(tokens)) {
      double[] given = token(src[0], token);
      double[] scales = token(scale[0], token);
      double[] got = token(back[0], token);
      for (int c = 0; c < width; c++) {
        double step = scales[c / TILE];
        double error = Math.abs(got[c] - given[c]); // half a unit of 3 bits, or of the smallest subnormal, 2^-9
        double bound = 1.02 * Math.max(Math.abs(given[c]) * 0x1p-4, step * 0x1p-10);
        if (!(error <= bound)) {
          throw new IllegalStateException("there and back, " + given[c] + " is " + got[c] + "; expected at most " + bound
              + " apart");
        }
      }
    }
  }

  @Override
  public Cost cost(String method) {
    double elements = (double) tokens * width;
    double scales = 4.0 * tokens * tiles();
    return method.equals("quantize") ? new Cost(elements * dtype.bytes(), elements, 0, scales, elements)
        : new Cost(elements, elements * dtype.bytes(), scales, 0, elements);
  }

  /** There. */
  @Benchmark
  public void quantize() {
    quantize(turn());
  }

  /** And back. */
  @Benchmark
  public void dequantize() {
    dequantize(turn());
  }
}
