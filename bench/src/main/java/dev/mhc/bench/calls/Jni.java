// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import dev.mhc.bench.Measure;

/** Functions of libmhc through JNI, as a library of the time before FFM would call them (native/bench/calls.c). */
final class Jni {
  static {
    Measure.ensureLoaded();
  }

  private Jni() {}

  /** Calls {@code int32_t function(void)}. */
  static native int noArguments(long function);

  /** Calls {@code mhc_status function(mhc_context*, const void*)}. */
  static native int operation(long function, long context, long arguments);
}
