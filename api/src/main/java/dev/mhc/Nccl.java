// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.nccl.nccl_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** NCCL: its version, and what its results mean in Java. */
final class Nccl {
  private Nccl() {}

  /**
   * Loads it unless it is loaded.
   *
   * @throws NativeLibraryException if it is nowhere
   */
  static void load() {
    Native.load(VendorLibrary.NCCL);
  }

  /** Such as 23007 for 2.30.7. */
  static int version() {
    load();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      check(nccl_h.ncclGetVersion(result), "ncclGetVersion", null);
      return result.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** Such as 2.30.7 for 23007. */
  static String text(int version) {
    return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }

  static int groupStart() {
    return Group.START.apply();
  }

  static int groupEnd() {
    return Group.END.apply();
  }

  /** Has the end of this thread's group begin nothing of it: a group with a call that fails is refused. */
  static void spoilGroup() {
    nccl_h.ncclSend(MemorySegment.NULL, 0, nccl_h.ncclUint8(), 0, MemorySegment.NULL, MemorySegment.NULL);
  }

  /** nccl.h declares these without a word on their arguments, of which there are none. Made when first used. */
  private static final class Group {
    static final nccl_h.ncclGroupStart START = nccl_h.ncclGroupStart.makeInvoker();
    static final nccl_h.ncclGroupEnd END = nccl_h.ncclGroupEnd.makeInvoker();
  }

  static void check(int code, String function, @Nullable String device) {
    if (code != nccl_h.ncclSuccess()) {
      throw failure(code, function, device);
    }
  }

  static NcclException failure(int code, String function, @Nullable String device) {
    String last = nccl_h.ncclGetLastError(MemorySegment.NULL).getString(0).strip();
    String text = nccl_h.ncclGetErrorString(code).getString(0) + (last.isEmpty() ? "" : ": " + last);
    return new NcclException(code, name(code), text, function, device, hint(code));
  }

  /** NCCL has texts for its results, but no names. */
  private static String name(int code) {
    return code == nccl_h.ncclUnhandledCudaError() ? "ncclUnhandledCudaError"
        : code == nccl_h.ncclSystemError() ? "ncclSystemError"
        : code == nccl_h.ncclInternalError() ? "ncclInternalError"
        : code == nccl_h.ncclInvalidArgument() ? "ncclInvalidArgument"
        : code == nccl_h.ncclInvalidUsage() ? "ncclInvalidUsage"
        : code == nccl_h.ncclRemoteError() ? "ncclRemoteError"
        : code == nccl_h.ncclInProgress() ? "ncclInProgress"
        : code == nccl_h.ncclTimeout() ? "ncclTimeout"
        : "ncclResult " + code;
  }

  private static @Nullable String hint(int code) {
    if (code == nccl_h.ncclUnhandledCudaError()) {
      return "CUDA itself may not work here: Device.cuda(0) says why; NCCL_DEBUG=INFO in the environment says more";
    }
    if (code == nccl_h.ncclRemoteError()) {
      return "another rank has ended or cannot be reached; look at its output";
    }
    return code == nccl_h.ncclSystemError() ? "NCCL_DEBUG=INFO in the environment says more" : null;
  }
}
