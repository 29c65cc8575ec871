// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.GemmConfig.Precision;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import org.jspecify.annotations.Nullable;

/** A product on a GPU. */
final class CudaGemm extends Gemm {
  private final CudaProduct product;
  private final @Nullable Tensor zeros; // operands of a product over k = 0, which cuBLASLt does not take: of k = 1

  CudaGemm(CudaDevice device, GemmConfig config) {
    super(device, config);
    boolean tf32 = config.aType() == DType.FP32 && config.precision() == Precision.TF32;
    var form = new LtPlan.Form(config.transposeA(), config.transposeB(),
        tf32 ? cublaslt_h.CUBLAS_COMPUTE_32F_FAST_TF32() : cublaslt_h.CUBLAS_COMPUTE_32F(), config.bias(), config.activation(), 0, 0);
    boolean nothing = config.k() == 0 && config.m() > 0 && config.n() > 0;
    GemmConfig taken = nothing ? config.withInner(1) : config;
    product = new CudaProduct(device, form, matrix(taken.aType(), taken.aShape()), matrix(taken.bType(), taken.bShape()),
        matrix(taken.dType(), taken.dShape()), config.bias() ? config.dType() : null);
    try {
      zeros = nothing ? Tensor.allocate(device, config.aType(),
          new long[] {Math.max(1, config.batch()) * Math.max(config.m(), config.n())}, false) : null;
    } catch (RuntimeException | Error e) {
      product.close();
      throw e;
    }
  }

  static LtMatrix matrix(DType type, long[] shape) {
    int rank = shape.length;
    return LtMatrix.compact(type, shape[rank - 2], shape[rank - 1], rank == 3 ? shape[0] : 1);
  }

  @Override
  void compute(Tensor a, Tensor b, @Nullable Tensor bias, Tensor d) {
    if (product.isEmpty() || d.elements() == 0) {
      return;
    }
    if (zeros == null) {
      product.run(config.alpha(), config.beta(), a, 0, b, 0, bias, d);
    } else {
      GemmConfig taken = config.withInner(1);
      product.run(config.alpha(), config.beta(), zeros.part(0, config.aType(), taken.aShape()), 0,
          zeros.part(0, config.bType(), taken.bShape()), 0, bias, d);
    }
  }

  /** {@code d = alpha op(a) op(b) + beta d}, whatever factors the config has. Called with the device's lock held. */
  void multiply(float alpha, float beta, Tensor a, Tensor b, Tensor d) {
    product.run(alpha, beta, a, 0, b, 0, null, d);
  }

  @Override
  void release() {
    product.close();
    if (zeros != null) {
      zeros.close();
    }
  }
}
