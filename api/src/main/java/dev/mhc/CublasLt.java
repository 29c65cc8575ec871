// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A cuBLASLt handle, and its opaque objects with their attributes. Guarded by its device's lock. */
final class CublasLt {
  final String device;
  final MemorySegment handle;

  CublasLt(String device) {
    this.device = device;
    Cublas.load();
    handle = pointer("cublasLtCreate", cublaslt_h::cublasLtCreate);
  }

  MemorySegment pointer(String function, Cuda.Getter getter) {
    return Cublas.pointer(function, device, getter);
  }

  /** cudaDataType of an element type. */
  static int type(DType type) {
    return switch (type) {
      case FP32 -> cublaslt_h.CUDA_R_32F();
      case BF16 -> cublaslt_h.CUDA_R_16BF();
      case FP16 -> cublaslt_h.CUDA_R_16F();
      case FP8_E4M3 -> cublaslt_h.CUDA_R_8F_E4M3();
      case E8M0, INT32 -> throw new AssertionError(type);
    };
  }

  MemorySegment product(int compute) {
    return pointer("cublasLtMatmulDescCreate",
        result -> cublaslt_h.cublasLtMatmulDescCreate(result, compute, cublaslt_h.CUDA_R_32F()));
  }

  void set(MemorySegment product, int attribute, int value) {
    try (Arena arena = Arena.ofConfined()) {
      Cublas.check(cublaslt_h.cublasLtMatmulDescSetAttribute(product, attribute, arena.allocateFrom(ValueLayout.JAVA_INT, value),
          Integer.BYTES), "cublasLtMatmulDescSetAttribute", device);
    }
  }

  /** scratch: room for a pointer, so that nothing is allocated. */
  void set(MemorySegment product, int attribute, long pointer, MemorySegment scratch) {
    scratch.set(ValueLayout.JAVA_LONG, 0, pointer);
    Cublas.check(cublaslt_h.cublasLtMatmulDescSetAttribute(product, attribute, scratch, Long.BYTES),
        "cublasLtMatmulDescSetAttribute", device);
  }

  /** A row-major matrix, rows so many elements apart, as the column-major matrix that it is of its transpose. */
  MemorySegment layout(LtMatrix matrix) {
    MemorySegment layout = pointer("cublasLtMatrixLayoutCreate", result -> cublaslt_h.cublasLtMatrixLayoutCreate(result,
        type(matrix.type()), matrix.columns(), matrix.rows(), matrix.stride()));
    try (Arena arena = Arena.ofConfined()) {
      Cublas.check(cublaslt_h.cublasLtMatrixLayoutSetAttribute(layout, cublaslt_h.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT(),
          arena.allocateFrom(ValueLayout.JAVA_INT, (int) matrix.batch()), Integer.BYTES), "cublasLtMatrixLayoutSetAttribute", device);
      Cublas.check(cublaslt_h.cublasLtMatrixLayoutSetAttribute(layout, cublaslt_h.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET(),
          arena.allocateFrom(ValueLayout.JAVA_LONG, matrix.batchStride()), Long.BYTES), "cublasLtMatrixLayoutSetAttribute", device);
    }
    return layout;
  }

  void close() {
    cublaslt_h.cublasLtDestroy(handle);
  }
}
