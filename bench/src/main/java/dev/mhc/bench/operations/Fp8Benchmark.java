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
    return (width + Check.TILE - 1) / Check.TILE;
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
      Check.quantized("token " + token, token(src[0], token), token(scale[0], token), token(back[0], token));
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
