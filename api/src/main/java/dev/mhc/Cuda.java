// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** The CUDA runtime: its versions, its devices, and what its errors mean in Java. */
final class Cuda {
  private Cuda() {}

  /**
   * Loads it unless it is loaded.
   *
   * @throws NativeLibraryException if it is nowhere
   */
  static void load() {
    Native.load(VendorLibrary.CUDART);
  }

  /** Such as 13000 for CUDA 13.0. */
  static int runtimeVersion() {
    return number("cudaRuntimeGetVersion", cudart_h::cudaRuntimeGetVersion);
  }

  /** The newest CUDA that the driver supports; 0 if there is no driver. */
  static int driverVersion() {
    return number("cudaDriverGetVersion", cudart_h::cudaDriverGetVersion);
  }

  /**
   * How many GPUs there are.
   *
   * @throws CudaException if there is none, or no driver for them
   */
  static int deviceCount() {
    return number("cudaGetDeviceCount", cudart_h::cudaGetDeviceCount);
  }

  interface Getter {
    int call(MemorySegment result);
  }

  /** The pointer that a function puts where its argument says. */
  static MemorySegment pointer(String function, @Nullable String device, Getter getter) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      check(getter.call(result), function, device);
      return result.get(ValueLayout.ADDRESS, 0);
    }
  }

  /** Of a query: whether what it asks about is done. */
  static boolean isReady(int code, String function, @Nullable String device) {
    if (code == cudart_h.cudaErrorNotReady()) {
      return false;
    }
    check(code, function, device);
    return true;
  }

  /** Whether every later call gives this error too. */
  static boolean isSticky(int code) {
    return code == cudart_h.cudaErrorIllegalAddress() || code == cudart_h.cudaErrorLaunchTimeout()
        || code == cudart_h.cudaErrorAssert() || code == cudart_h.cudaErrorECCUncorrectable()
        || code == cudart_h.cudaErrorNvlinkUncorrectable()
        || code >= cudart_h.cudaErrorHardwareStackError() && code <= cudart_h.cudaErrorLaunchFailure();
  }

  private static int number(String function, Getter getter) {
    load();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      check(getter.call(result), function, null);
      return result.get(ValueLayout.JAVA_INT, 0);
    }
  }

  static void check(int code, String function, @Nullable String device) {
    if (code != cudart_h.cudaSuccess()) {
      throw failure(code, function, device);
    }
  }

  static CudaException failure(int code, String function, @Nullable String device) {
    return new CudaException(code, cudart_h.cudaGetErrorName(code).getString(0),
        cudart_h.cudaGetErrorString(code).getString(0), function, device, hint(code));
  }

  private static @Nullable String hint(int code) {
    return code == cudart_h.cudaErrorInsufficientDriver() ? driverHint() : CudaHint.of(code);
  }

  private static String driverHint() {
    int driver = driverVersion();
    return driver == 0
        ? "there is no NVIDIA driver here; install one for CUDA " + version(runtimeVersion())
            + " or later, or use Device.cpu()"
        : "the driver is for CUDA " + version(driver) + "; install one for CUDA " + version(runtimeVersion())
            + " or later, or an older CUDA runtime";
  }

  /** 13.0 for 13000. */
  static String version(int number) {
    return number / 1000 + "." + number % 1000 / 10;
  }
}
