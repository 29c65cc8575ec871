// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** A product on the CPU. */
final class CpuGemm extends Gemm {
  private final CpuProduct product;

  CpuGemm(CpuDevice device, GemmConfig config) {
    super(device, config);
    product = new CpuProduct(device, config);
  }

  @Override
  void compute(Tensor a, Tensor b, @Nullable Tensor bias, Tensor d) {
    product.compute(a, b, bias, d);
  }

  @Override
  void release() {
    product.close();
  }
}
