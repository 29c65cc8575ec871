// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import dev.mhc.bindings.generated.cublas.cublas_h;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import org.jspecify.annotations.Nullable;

/** An FP8 product on a GPU, which multiplies tiles and scales their sums. */
final class CudaFp8Gemm extends Fp8Gemm {
  private final CudaProduct product;
  private final CudaScales aScales;
  private final CudaScales bScales;

  CudaFp8Gemm(CudaDevice device, Fp8GemmConfig config) {
    super(device, config);
    var form = new LtPlan.Form(false, true, cublas_h.CUBLAS_COMPUTE_32F(), config.bias(), config.activation(),
        mode(config.aScaling()), mode(config.bScaling()));
    product = new CudaProduct(device, form, LtMatrix.compact(DType.FP8_E4M3, config.m(), config.k(), 1),
        LtMatrix.compact(DType.FP8_E4M3, config.n(), config.k(), 1),
        LtMatrix.compact(config.dType(), config.m(), config.n(), 1), config.bias() ? config.dType() : null);
    aScales = new CudaScales(device, config.aScaling(), config.m(), config.k());
    bScales = new CudaScales(device, config.bScaling(), config.n(), config.k());
  }

  private static int mode(Scaling scaling) {
    return switch (scaling) {
      case TENSOR -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F();
      case ROW_TILE -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F();
      case SQUARE_TILE -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F();
    };
  }

  @Override
  void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    if (product.isEmpty()) {
      finishEmpty(bias, d);
    } else {
      product.run(1, 0, a, aScales.address(aScale), b, bScales.address(bScale), bias, d);
    }
  }

  /** D is what bias and activation make of zero, or has no elements. */
  private void finishEmpty(@Nullable Tensor bias, Tensor d) {
    if (d.elements() == 0) {
      return;
    }
    GemmConfig sum = GemmConfig.of(d.dtype(), config.m(), config.n(), 0).withEpilogue(config.bias(), config.activation());
    try (Gemm gemm = Gemm.create(device, sum);
        Tensor nothing = Tensor.allocate(device, d.dtype(), new long[] {config.m(), 0}, false)) {
      gemm.compute(nothing, nothing.reshape(0, config.n()), bias, d);
    }
  }

  @Override
  boolean isReleased() {
    return product.isClosed();
  }

  @Override
  void release() {
    product.close();
    aScales.close();
    bScales.close();
  }
}
