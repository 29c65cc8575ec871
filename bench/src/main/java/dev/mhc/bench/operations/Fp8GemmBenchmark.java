// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.DType;
import dev.mhc.Fp8.Rounding;
import dev.mhc.Fp8.Tile;
import dev.mhc.Fp8;
import dev.mhc.Fp8Gemm;
import dev.mhc.Fp8GemmConfig;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The product of T x C activations by C x C weights in FP8, with scales of 1 x 128 and 128 x 128, to a result of the rows' type.
 * The weight rotates with the rows.
 */
@Warmup(iterations = 4, time = 500, timeUnit = TimeUnit.MILLISECONDS) // conversions in Java, which have to be compiled
public class Fp8GemmBenchmark extends OperationBenchmark {
  private Fp8Gemm gemm;
  private Tensor[] a;
  private Tensor[] aScale;
  private Tensor[] b;
  private Tensor[] bScale;
  private Tensor[] d;

  @Override
  protected void make() {
    double bytes = (1 + dtype.bytes() + (double) width / tokens) * width;
    rotate(bytes, DType.FP8_E4M3);
    gemm = own(Fp8Gemm.create(on, Fp8GemmConfig.tiled(tokens, width, width, dtype)));
    a = outputs(DType.FP8_E4M3, tokens, width);
    aScale = outputs(DType.FP32, tokens, tiles());
    b = outputs(DType.FP8_E4M3, width, width);
    bScale = outputs(DType.FP32, tiles(), tiles());
    d = outputs(dtype, tokens, width);
    Tensor activations = input(DType.FP32, 1, tokens, width);
    Tensor weights = input(DType.FP32, 1, width, width);
    for (int i = 0; i < a.length; i++) {
      Fp8.quantize(activations, a[i], aScale[i], Tile.ROW, Rounding.EXACT);
      Fp8.quantize(weights, b[i], bScale[i], Tile.SQUARE, Rounding.EXACT);
    }
  }

  private int tiles() {
    return (width + Check.TILE - 1) / Check.TILE;
  }

  @Override
  protected void check() {
    gemm.run(a[0], aScale[0], b[0], bScale[0], d[0]);
    Check.written("d", d[0]);
    double[] weights = b[0].toDoubles();
    double[] scales = bScale[0].toDoubles();
    var right = new double[weights.length]; // transposed
    for (int n = 0; n < width; n++) {
      for (int k = 0; k < width; k++) {
        right[k * width + n] = weights[n * width + k] * scales[n / Check.TILE * tiles() + k / Check.TILE];
      }
    }
    for (int row : Check.tokens(tokens)) {
      double[] left = Check.token(a[0], row);
      double[] rowScales = Check.token(aScale[0], row);
      for (int k = 0; k < width; k++) {
        left[k] *= rowScales[k / Check.TILE];
      }
      Check.product("d, row " + row, dtype, left, right, Check.token(d[0], row));
    }
  }

  @Override
  public Cost cost(String method) {
    double rows = (double) tokens * width;
    double scales = DType.FP32.bytes() * (double) tiles() * (tokens + tiles());
    return Cost.matrices(rows + (double) width * width + scales, rows * dtype.bytes(), rows * width);
  }

  /** The product. */
  @Benchmark
  public void run() {
    int i = turn();
    gemm.run(a[i], aScale[i], b[i], bScale[i], d[i]);
  }
}
