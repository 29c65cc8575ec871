// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import org.jspecify.annotations.Nullable;

/** An FP8 product on the CPU: dequantised by libmhc, multiplied in float32. */
final class CpuFp8Gemm extends Fp8Gemm {
  private final CpuProduct product;
  private final Tensor wideA;
  private final Tensor wideB;

  CpuFp8Gemm(CpuDevice device, Fp8GemmConfig config) {
    super(device, config);
    product = new CpuProduct(device, GemmConfig.of(DType.FP32, config.m(), config.n(), config.k())
        .withTransposed(false, true).withEpilogue(config.bias(), config.activation()));
    wideA = Tensor.allocate(device, DType.FP32, new long[] {config.m(), config.k()}, false);
    wideB = Tensor.allocate(device, DType.FP32, new long[] {config.n(), config.k()}, false);
  }

  @Override
  void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    widen(a, aScale, config.aScaling(), wideA);
    widen(b, bScale, config.bScaling(), wideB);
    product.compute(wideA, wideB, bias, d);
  }

  private static void widen(Tensor src, Tensor scale, Scaling scaling, Tensor dst) {
    switch (scaling) {
      case TENSOR -> {
        long[] shape = Fp8.scaleShape(Fp8.Tile.ROW, src.dim(0), src.dim(1));
        try (Tensor same = Tensor.wrap(src.device(), DType.FP32, scale.segment(), shape, new long[] {0, 0})) {
          Fp8.dequantize(src, same, Fp8.Tile.ROW, dst);
        }
      }
      case ROW_TILE -> Fp8.dequantize(src, scale, Fp8.Tile.ROW, dst);
      case SQUARE_TILE -> Fp8.dequantize(src, scale, Fp8.Tile.SQUARE, dst);
    }
  }

  @Override
  boolean isReleased() {
    return product.isClosed();
  }

  @Override
  void release() {
    product.close();
    wideA.close();
    wideB.close();
  }
}
