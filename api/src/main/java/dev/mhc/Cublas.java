// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** cuBLASLt: its version, and what its statuses mean in Java; cuBLAS has the same. */
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
    if (code != cublaslt_h.CUBLAS_STATUS_SUCCESS()) {
      throw failure(code, function, device);
    }
  }

  /** The pointer that a function puts where its argument says. */
  static MemorySegment pointer(String function, @Nullable String device, Cuda.Getter getter) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      check(getter.call(result), function, device);
      return result.get(ValueLayout.ADDRESS, 0);
    }
  }

  static CublasException failure(int code, String function, @Nullable String device) {
    return new CublasException(code, cublaslt_h.cublasLtGetStatusName(code).getString(0),
        cublaslt_h.cublasLtGetStatusString(code).getString(0), function, device, hint(code));
  }

  /** Such as 12.8.4. */
  static String versionText() {
    long version = version();
    return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }

  /** Whether there is no such product here; of versions before 12.9, which do not know all scales, an invalid value. */
  static boolean isUnsupported(CublasException e) {
    return e.code() == cublaslt_h.CUBLAS_STATUS_NOT_SUPPORTED() || e.code() == cublaslt_h.CUBLAS_STATUS_ARCH_MISMATCH()
        || e.code() == cublaslt_h.CUBLAS_STATUS_INVALID_VALUE();
  }

  private static @Nullable String hint(int code) {
    if (code == cublaslt_h.CUBLAS_STATUS_NOT_INITIALIZED()) {
      return "CUDA itself may not work here: Device.cuda(0) says why";
    }
    if (code == cublaslt_h.CUBLAS_STATUS_ALLOC_FAILED()) {
      return "the GPU's memory is used up: close tensors, or use smaller ones";
    }
    if (code == cublaslt_h.CUBLAS_STATUS_NOT_SUPPORTED() || code == cublaslt_h.CUBLAS_STATUS_ARCH_MISMATCH()) {
      return "this GPU, or this version of cuBLASLt, has no such product; 12.9 and later have the most";
    }
    if (code == cublaslt_h.CUBLAS_STATUS_EXECUTION_FAILED() || code == cublaslt_h.CUBLAS_STATUS_INTERNAL_ERROR()) {
      return "an earlier kernel may have broken the GPU's context: Device.synchronize() gives CUDA's own error if so";
    }
    return null;
  }
}
