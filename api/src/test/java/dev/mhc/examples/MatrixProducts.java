// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Activation;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Fp8;
import dev.mhc.Fp8Gemm;
import dev.mhc.Fp8GemmConfig;
import dev.mhc.Gemm;
import dev.mhc.GemmConfig;
import dev.mhc.Tensor;

/** Matrix products, prepared once and run often. */
public final class MatrixProducts {
  private MatrixProducts() {}

  public static void gemm(Device device, Tensor x, Tensor weight, Tensor bias, Tensor y) {
    // @start region="gemm"
    GemmConfig config = GemmConfig.of(DType.BF16, x.dim(0), weight.dim(0), x.dim(1)) // y = gelu(x weight^T + bias)
        .withTransposed(false, true).withEpilogue(true, Activation.GELU);
    try (Gemm linear = Gemm.create(device, config)) { // chooses the algorithm, allocates
      linear.run(x, weight, bias, y); // as often as you like
    }
    // @end
  }

  public static void fp8(Device device, Tensor x, Tensor weight, Tensor y) {
    // @start region="fp8"
    long m = x.dim(0); // activations x [m, k], weights [n, k], y [m, n] = x weight^T
    long n = weight.dim(0);
    long k = x.dim(1);
    try (Tensor x8 = device.tensor(DType.FP8_E4M3, m, k);
        Tensor xScale = device.tensor(DType.FP32, Fp8.scaleShape(Fp8.Tile.ROW, m, k)); // a scale for each 1 x 128
        Tensor w8 = device.tensor(DType.FP8_E4M3, n, k);
        Tensor wScale = device.tensor(DType.FP32, Fp8.scaleShape(Fp8.Tile.SQUARE, n, k)); // for each 128 x 128
        Fp8Gemm product = Fp8Gemm.create(device, Fp8GemmConfig.tiled(m, n, k, y.dtype()))) {
      Fp8.quantize(x, x8, xScale, Fp8.Tile.ROW, Fp8.Rounding.EXACT);
      Fp8.quantize(weight, w8, wScale, Fp8.Tile.SQUARE, Fp8.Rounding.EXACT);
      product.run(x8, xScale, w8, wScale, y);
    }
    // @end
  }
}
