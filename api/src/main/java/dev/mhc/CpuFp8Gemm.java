// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** An FP8 product on the CPU: dequantised by libmhc, multiplied in float32. */
final class CpuFp8Gemm extends Fp8Gemm {
  private final CpuProduct product;
  private final WideFp8 wideA;
  private final WideFp8 wideB;

  CpuFp8Gemm(CpuDevice device, Fp8GemmConfig config) {
    super(device, config);
    product = new CpuProduct(device, GemmConfig.of(DType.FP32, config.m(), config.n(), config.k())
        .withTransposed(false, true).withEpilogue(config.bias(), config.activation()));
    wideA = new WideFp8(device, config.aScaling(), config.m(), config.k());
    wideB = new WideFp8(device, config.bScaling(), config.n(), config.k());
  }

  @Override
  public boolean isDirect() {
    return false;
  }

  @Override
  void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    wideA.take(a, aScale);
    wideB.take(b, bScale);
    product.compute(wideA.values, wideB.values, bias, d);
  }

  @Override
  void release() {
    product.close();
    wideA.close();
    wideB.close();
  }
}
