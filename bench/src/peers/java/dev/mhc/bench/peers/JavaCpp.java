// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import dev.mhc.bench.calls.Caller;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.MemorySegment;
import java.util.function.LongConsumer;

/** Calls through JavaCPP: pointers are objects of Java, from which the JNI code of each call reads the addresses. */
public final class JavaCpp implements Caller {
  /** For the service loader. */
  public JavaCpp() {}

  @Override
  public String name() {
    return "JavaCPP";
  }

  @Override
  public LongConsumer noArguments() {
    Natives.ready();
    return count -> {
      for (long i = 0; i < count; i++) {
        require("version", JavaCppFunctions.mhc_abi_version(), mhc_h.MHC_ABI_VERSION());
      }
    };
  }

  @Override
  public LongConsumer boundary(MemorySegment context, MemorySegment arguments) {
    Natives.ready();
    var on = new JavaCppFunctions.Context(context.address());
    var with = new JavaCppFunctions.BoundaryArguments(arguments.address());
    return count -> {
      for (long i = 0; i < count; i++) {
        require("status", JavaCppFunctions.mhc_boundary(on, with), mhc_h.MHC_OK());
      }
    };
  }

  private static void require(String what, int got, int expected) {
    if (got != expected) {
      throw new IllegalStateException(what + " is " + got + "; expected " + expected);
    }
  }
}
