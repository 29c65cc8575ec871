// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.cublas.cublas_h;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A cuBLAS handle: for arrays of pointers to matrices, which cuBLASLt of CUDA 12 does not take. Guarded by its device's lock. */
final class CublasHandle {
  final String device;
  final MemorySegment handle;

  /** Call with the device current; NativeLibraryException if cuBLAS is nowhere. */
  CublasHandle(String device) {
    this.device = device;
    Cublas.load(); // has the names of statuses
    Native.load(VendorLibrary.CUBLAS);
    Native.LOG.log(Level.DEBUG, "cuBLAS {0} on {1}", version(), device);
    handle = Cublas.pointer("cublasCreate", device, cublas_h::cublasCreate_v2);
    try { // sums are of FP32 to the end, whatever the result is
      Cublas.check(cublas_h.cublasSetMathMode(handle, cublas_h.CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION()),
          "cublasSetMathMode", device);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /** Of the library, which is loaded, such as 13.1.1. */
  static String version() {
    return property(cublas_h.MAJOR_VERSION()) + "." + property(cublas_h.MINOR_VERSION()) + "."
        + property(cublas_h.PATCH_LEVEL());
  }

  private static int property(int which) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      Cublas.check(cublas_h.cublasGetProperty(which, result), "cublasGetProperty", null);
      return result.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** Where the next product goes, and what it works in: a stream that is set brings cuBLAS's own workspace back. */
  void use(MemorySegment stream, MemorySegment workspace) {
    Cublas.check(cublas_h.cublasSetStream_v2(handle, stream), "cublasSetStream", device);
    Cublas.check(cublas_h.cublasSetWorkspace_v2(handle, workspace, workspace.byteSize()), "cublasSetWorkspace", device);
  }

  /** Waits for the device. */
  void close() {
    cublas_h.cublasDestroy_v2(handle);
  }
}
