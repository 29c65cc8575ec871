// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.cublas.cublas_h;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import org.jspecify.annotations.Nullable;

/** cuBLASLt: its version, and what its statuses mean in Java. */
final class Cublas {
  private Cublas() {}

  /**
   * Loads cuBLASLt unless it is loaded.
   *
   * @throws NativeLibraryException if it is nowhere
   */
  static void load() {
    Native.load(VendorLibrary.CUBLASLT);
  }

  /** Such as 130101 for 13.1.1. */
  static long version() {
    load();
    return cublaslt_h.cublasLtGetVersion();
  }

  static void check(int code, String function, @Nullable String device) {
    if (code != cublas_h.CUBLAS_STATUS_SUCCESS()) {
      throw failure(code, function, device);
    }
  }

  static CublasException failure(int code, String function, @Nullable String device) {
    return new CublasException(code, cublaslt_h.cublasLtGetStatusName(code).getString(0),
        cublaslt_h.cublasLtGetStatusString(code).getString(0), function, device, hint(code));
  }

  /** Whether there is no such product here; of versions before 12.9, which do not know all scales, an invalid value. */
  static boolean isUnsupported(CublasException e) {
    return e.code() == cublas_h.CUBLAS_STATUS_NOT_SUPPORTED() || e.code() == cublas_h.CUBLAS_STATUS_ARCH_MISMATCH()
        || e.code() == cublas_h.CUBLAS_STATUS_INVALID_VALUE();
  }

  private static @Nullable String hint(int code) {
    if (code == cublas_h.CUBLAS_STATUS_NOT_INITIALIZED()) {
      return "CUDA itself may not work here: Device.cuda(0) says why";
    }
    if (code == cublas_h.CUBLAS_STATUS_ALLOC_FAILED()) {
      return "the GPU's memory is used up: close tensors, or use smaller ones";
    }
    if (code == cublas_h.CUBLAS_STATUS_NOT_SUPPORTED() || code == cublas_h.CUBLAS_STATUS_ARCH_MISMATCH()) {
      return "this GPU, or this version of cuBLASLt, has no such product: FP8 with 1 x 128 and 128 x 128 scales takes a"
          + " GPU of compute capability 9.0 and cuBLASLt 12.9";
    }
    return null;
  }
}
