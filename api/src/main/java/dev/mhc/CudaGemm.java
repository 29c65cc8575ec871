// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.GemmConfig.Precision;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A product on a GPU. */
final class CudaGemm extends Gemm {
  private final CudaProduct product;
  private final @Nullable CudaBatch batch; // none for products with an epilogue, which cuBLAS does not have
  private final @Nullable Tensor zeros; // operands of a product over k = 0, which cuBLASLt does not take: of k = 1

  CudaGemm(CudaDevice device, GemmConfig config) {
    super(device, config);
    boolean tf32 = config.aType() == DType.FP32 && config.precision() == Precision.TF32;
    int compute = tf32 ? cublaslt_h.CUBLAS_COMPUTE_32F_FAST_TF32() : cublaslt_h.CUBLAS_COMPUTE_32F();
    var form = new LtPlan.Form(config.transposeA(), config.transposeB(), compute, config.bias(), config.activation(), 0, 0);
    boolean nothing = config.k() == 0 && config.m() > 0 && config.n() > 0;
    GemmConfig taken = nothing ? config.withInner(1) : config;
    product = new CudaProduct(device, form, matrix(taken.aType(), taken.aShape()), matrix(taken.bType(), taken.bShape()),
        matrix(taken.dType(), taken.dShape()), config.bias() ? config.dType() : null);
    batch = config.bias() || config.activation() != Activation.NONE || product.isEmpty() || nothing ? null
        : new CudaBatch(device, config, compute);
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

  /** One product alone has the better algorithms in its plan. */
  @Override
  void compute(List<Tensor> a, List<Tensor> b, @Nullable Tensor bias, List<Tensor> d) {
    if (batch == null || a.size() < 2 || !batch.run(a, b, d)) {
      super.compute(a, b, bias, d);
    }
  }

  /** {@code d = alpha op(a) op(b) + beta d}, whatever factors the config has. Called with the device's lock held. */
  void multiply(float alpha, float beta, Tensor a, Tensor b, Tensor d) {
    product.run(alpha, beta, a, 0, b, 0, null, d);
  }

  @Override
  void release() {
    product.close();
    if (batch != null) {
      batch.close();
    }
    if (zeros != null) {
      zeros.close();
    }
  }
}
