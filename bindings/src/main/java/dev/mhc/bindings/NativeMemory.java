// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.function.LongConsumer;

/** The restricted calls that are not made by jextract's output: pointers from outside, and pointers to functions. */
public final class NativeMemory {
  static final FunctionDescriptor POINTER_CALL = FunctionDescriptor.ofVoid(ValueLayout.ADDRESS);

  private NativeMemory() {}

  /** The zero-terminated text at a pointer. */
  @SuppressWarnings("restricted")
  public static String string(MemorySegment pointer) {
    return pointer.reinterpret(Long.MAX_VALUE).getString(0);
  }

  /** The given number of bytes at an address. The caller answers for their being there for as long as they are used. */
  @SuppressWarnings("restricted")
  public static MemorySegment at(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }

  /** Calls {@code void function(void*)}. */
  public static void call(MemorySegment function, MemorySegment argument) {
    try {
      PointerCall.HANDLE.invokeExact(function, argument);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  /**
   * A {@code void (*)(void*)} that hands its argument to a Java target. It stays for the life of the process. An
   * exception from the target goes to the thread's uncaught-exception handler, because it cannot pass through C.
   */
  @SuppressWarnings("restricted")
  public static MemorySegment function(LongConsumer target) {
    try {
      MethodHandle handle = MethodHandles.lookup()
          .findStatic(NativeMemory.class, "receive",
              MethodType.methodType(void.class, LongConsumer.class, MemorySegment.class))
          .bindTo(target);
      return Linker.nativeLinker().upcallStub(handle, POINTER_CALL, Arena.global());
    } catch (NoSuchMethodException | IllegalAccessException e) {
      throw new AssertionError(e);
    }
  }

  private static void receive(LongConsumer target, MemorySegment argument) {
    try {
      target.accept(argument.address());
    } catch (Throwable e) {
      Thread thread = Thread.currentThread();
      thread.getUncaughtExceptionHandler().uncaughtException(thread, e);
    }
  }

  /** Linked when it is first used. */
  private static final class PointerCall {
    @SuppressWarnings("restricted")
    static final MethodHandle HANDLE = Linker.nativeLinker().downcallHandle(POINTER_CALL);
  }
}
