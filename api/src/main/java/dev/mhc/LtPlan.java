// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import dev.mhc.bindings.generated.cublaslt.cublasLtMatmulHeuristicResult_t;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * One product of cuBLASLt with its algorithm, for operands that lie in memory in one way. cuBLASLt's matrices are
 * column-major, so that it computes the transpose: {@code D^T = op(B)^T op(A)^T}, B first. Guarded by the device's lock.
 */
final class LtPlan {
  /** What is fixed when a product is prepared. */
  record Form(boolean transposeA, boolean transposeB, int compute, boolean bias, Activation activation, int aScaling,
      int bScaling) {}

  /** The most that an algorithm may ask for; what NVIDIA recommends for Hopper. */
  private static final long WORKSPACE = 32L << 20;

  private final CublasLt cublas;
  private final Form form;
  private final MemorySegment product;
  private final MemorySegment a;
  private final MemorySegment b;
  private final MemorySegment d;
  private final MemorySegment algorithm;
  private final MemorySegment factors;
  private final MemorySegment scratch;
  private final long workspace;

  LtPlan(CublasLt cublas, Form form, LtMatrix a, LtMatrix b, LtMatrix d, @Nullable DType biasType) {
    this.cublas = cublas;
    this.form = form;
    Arena arena = Arena.ofAuto();
    algorithm = arena.allocate(cublasLtMatmulHeuristicResult_t.layout());
    factors = arena.allocate(ValueLayout.JAVA_FLOAT, 2);
    scratch = arena.allocate(ValueLayout.JAVA_LONG);
    product = cublas.product(form.compute);
    this.a = cublas.layout(a);
    this.b = cublas.layout(b);
    this.d = cublas.layout(d);
    try {
      cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_TRANSA(), operation(form.transposeB));
      cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_TRANSB(), operation(form.transposeA));
      cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_EPILOGUE(), epilogue(form));
      scaling(cublaslt_h.CUBLASLT_MATMUL_DESC_A_SCALE_MODE(), form.bScaling);
      scaling(cublaslt_h.CUBLASLT_MATMUL_DESC_B_SCALE_MODE(), form.aScaling);
      if (biasType != null) {
        cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE(), CublasLt.type(biasType));
      }
      choose(a, b, d);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
    workspace = cublasLtMatmulHeuristicResult_t.workspaceSize(algorithm);
  }

  /** One scale or none is what there is by itself, also before 12.8, which does not know this attribute. */
  private void scaling(int attribute, int mode) {
    if (mode != cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F()) {
      cublas.set(product, attribute, mode);
    }
  }

  static int operation(boolean transposed) {
    return transposed ? cublaslt_h.CUBLAS_OP_T() : cublaslt_h.CUBLAS_OP_N();
  }

  private static int epilogue(Form form) {
    return switch (form.activation) {
      case NONE -> form.bias ? cublaslt_h.CUBLASLT_EPILOGUE_BIAS() : cublaslt_h.CUBLASLT_EPILOGUE_DEFAULT();
      case RELU -> form.bias ? cublaslt_h.CUBLASLT_EPILOGUE_RELU_BIAS() : cublaslt_h.CUBLASLT_EPILOGUE_RELU();
      case GELU -> form.bias ? cublaslt_h.CUBLASLT_EPILOGUE_GELU_BIAS() : cublaslt_h.CUBLASLT_EPILOGUE_GELU();
    };
  }

  /** Asks for the best algorithm. */
  private void choose(LtMatrix aMatrix, LtMatrix bMatrix, LtMatrix dMatrix) {
    MemorySegment preference = cublas.pointer("cublasLtMatmulPreferenceCreate", cublaslt_h::cublasLtMatmulPreferenceCreate);
    try (Arena arena = Arena.ofConfined()) {
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(),
          arena.allocateFrom(ValueLayout.JAVA_LONG, WORKSPACE));
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(),
          arena.allocateFrom(ValueLayout.JAVA_INT, bMatrix.alignment()));
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(),
          arena.allocateFrom(ValueLayout.JAVA_INT, aMatrix.alignment()));
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(),
          arena.allocateFrom(ValueLayout.JAVA_INT, dMatrix.alignment()));
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(),
          arena.allocateFrom(ValueLayout.JAVA_INT, dMatrix.alignment()));
      prefer(preference, cublaslt_h.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK(), // sums are of FP32 to the end
          arena.allocateFrom(ValueLayout.JAVA_INT, cublaslt_h.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE()));
      MemorySegment found = arena.allocate(ValueLayout.JAVA_INT);
      String function = "cublasLtMatmulAlgoGetHeuristic";
      Cublas.check(cublaslt_h.cublasLtMatmulAlgoGetHeuristic(cublas.handle, product, b, a, d, d, preference, 1, algorithm, found),
          function, cublas.device);
      if (found.get(ValueLayout.JAVA_INT, 0) == 0) {
        throw Cublas.failure(cublaslt_h.CUBLAS_STATUS_NOT_SUPPORTED(), function, cublas.device);
      }
      Cublas.check(cublasLtMatmulHeuristicResult_t.state(algorithm), function, cublas.device);
    } finally {
      cublaslt_h.cublasLtMatmulPreferenceDestroy(preference);
    }
  }

  private void prefer(MemorySegment preference, int attribute, MemorySegment value) {
    Cublas.check(cublaslt_h.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, value.byteSize()),
        "cublasLtMatmulPreferenceSetAttribute", cublas.device);
  }

  /** Bytes that {@link #run} wants. */
  long workspace() {
    return workspace;
  }

  /** Where the scales of a product with scales are. */
  void scales(long aScale, long bScale) {
    cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER(), bScale, scratch);
    cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER(), aScale, scratch);
  }

  /** Puts the product on a stream. bias: not looked at in one without. */
  void run(float alpha, float beta, MemorySegment aData, MemorySegment bData, MemorySegment bias, MemorySegment dData,
      MemorySegment room, MemorySegment stream) {
    if (form.bias) {
      cublas.set(product, cublaslt_h.CUBLASLT_MATMUL_DESC_BIAS_POINTER(), bias.address(), scratch);
    }
    factors.setAtIndex(ValueLayout.JAVA_FLOAT, 0, alpha);
    factors.setAtIndex(ValueLayout.JAVA_FLOAT, 1, beta);
    Cublas.check(cublaslt_h.cublasLtMatmul(cublas.handle, product, factors, bData, b, aData, a, factors.asSlice(Float.BYTES),
        dData, d, dData, d, algorithm, room, room.byteSize(), stream), "cublasLtMatmul", cublas.device);
  }

  void close() {
    for (MemorySegment layout : new MemorySegment[] {a, b, d}) {
      cublaslt_h.cublasLtMatrixLayoutDestroy(layout);
    }
    cublaslt_h.cublasLtMatmulDescDestroy(product);
  }
}
