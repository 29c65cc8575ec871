// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The stand-in for a GPU, which can be held, and tells what it did in which order. */
@SuppressWarnings("restricted")
final class StandIn {
  private StandIn() {}

  /** What tests need it for, a GPU does not tell. */
  static void require() {
    assumeTrue(TestDevice.isCuda() && Files.exists(library("libcudart.so.13"))
        && SymbolLookup.libraryLookup(library("libcudart.so.13"), Arena.global()).find("mhc_stand_in_hold").isPresent(),
        "the device is not a stand-in, whose order of work can be seen");
  }

  private static Path library(String name) {
    return Path.of(System.getProperty("mhc.nvidia.path", "/nowhere"), name);
  }

  /** Made once: a test asks again and again. */
  private static final class Functions {
    static final MethodHandle HOLD = find("libcudart.so.13", "mhc_stand_in_hold", FunctionDescriptor.ofVoid(
        ValueLayout.JAVA_INT));
    static final MethodHandle TRACE = find("libcudart.so.13", "mhc_stand_in_trace", FunctionDescriptor.ofVoid(
        ValueLayout.JAVA_INT));
    static final MethodHandle TRACED = find("libcudart.so.13", "mhc_stand_in_traced", FunctionDescriptor.of(
        ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
    static final MethodHandle CAN_ACCESS = find("libcudart.so.13", "mhc_stand_in_can_access", FunctionDescriptor.of(
        ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
    static final MethodHandle COMMUNICATORS = find("libnccl.so.2", "mhc_stand_in_communicators", FunctionDescriptor.of(
        ValueLayout.JAVA_INT));
    static final MethodHandle CUBLAS_HANDLES = find("libcublas.so.13", "mhc_stand_in_cublas_handles", FunctionDescriptor.of(
        ValueLayout.JAVA_INT));

    private static MethodHandle find(String library, String name, FunctionDescriptor type) {
      return Linker.nativeLinker().downcallHandle(
          SymbolLookup.libraryLookup(library(library), Arena.global()).find(name).orElseThrow(), type);
    }
  }

  /** From now on nothing is done; or all that has piled up is. */
  static void hold(boolean on) {
    call(Functions.HOLD, on);
  }

  /** From now on what is done is noted. */
  static void trace(boolean on) {
    call(Functions.TRACE, on);
  }

  private static void call(MethodHandle function, boolean on) {
    try {
      function.invokeExact(on ? 1 : 0);
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  /** What was done since {@link #trace}, in order: the stream's priority, the lower the sooner, and the kind of work. */
  static List<String> traced() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(1 << 22);
      long length = (long) Functions.TRACED.invokeExact(text, text.byteSize());
      if (length >= text.byteSize()) {
        throw new AssertionError("a trace of " + length + " bytes");
      }
      return text.getString(0).lines().toList();
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  /** Whether a GPU may use a tensor's memory. */
  static boolean canAccess(CudaDevice gpu, Tensor tensor) {
    try {
      return (int) Functions.CAN_ACCESS.invokeExact(tensor.memory(), gpu.index()) != 0;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  /** How many communicators of NCCL there are. */
  static int communicators() {
    return count(Functions.COMMUNICATORS);
  }

  /** How many handles of cuBLAS there are. */
  static int cublasHandles() {
    return count(Functions.CUBLAS_HANDLES);
  }

  private static int count(MethodHandle function) {
    try {
      return (int) function.invokeExact();
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }
}
