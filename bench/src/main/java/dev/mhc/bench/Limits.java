// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * What this CPU can do at most, on as many threads as an operation has: bytes through memory, and fp32 multiply-adds in
 * registers (native/bench/limits.h). Each method does its work once and says how many nanoseconds that took.
 */
public final class Limits implements AutoCloseable {
  /** Bytes of each of the two buffers: more than a last-level cache's share. */
  public static final long BYTES = 128L << 20;

  private static final MethodHandle COPY = Measure.function("mhc_limit_copy", ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT);
  private static final MethodHandle STREAM = Measure.function("mhc_limit_stream", ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT);
  private static final MethodHandle READ = Measure.function("mhc_limit_read", ADDRESS, JAVA_LONG, JAVA_INT);
  private static final MethodHandle ADDS = Measure.function("mhc_limit_multiply_adds", JAVA_INT, ADDRESS);

  private final int threads;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment from = arena.allocate(BYTES, 4096).fill((byte) 1);
  private final MemorySegment to = arena.allocate(BYTES, 4096).fill((byte) 2);
  private final MemorySegment count = arena.allocate(JAVA_LONG);
  private final boolean streams;

  /** Buffers for the limits of so many threads. */
  public Limits(int threads) {
    this.threads = threads;
    streams = call(() -> (long) STREAM.invokeExact(to, from, BYTES, threads)) >= 0;
  }

  /** memcpy. Reads and writes {@link #BYTES}. */
  public long copy() {
    return call(() -> (long) COPY.invokeExact(to, from, BYTES, threads));
  }

  /** A copy by stores that go past the caches; memcpy where the CPU has none. Reads and writes {@link #BYTES}. */
  public long stream() {
    return streams ? call(() -> (long) STREAM.invokeExact(to, from, BYTES, threads)) : copy();
  }

  /** Reads {@link #BYTES}. */
  public long read() {
    return call(() -> (long) READ.invokeExact(from, BYTES, threads));
  }

  /** Multiplies and adds as often as {@link #multiplyAddCount()} says. */
  public long multiplyAdds() {
    return call(() -> (long) ADDS.invokeExact(threads, count));
  }

  /** Multiply-adds of one {@link #multiplyAdds()}, all threads together. */
  public long multiplyAddCount() {
    if (count.get(JAVA_LONG, 0) == 0) {
      multiplyAdds();
    }
    return count.get(JAVA_LONG, 0);
  }

  private interface Call {
    long run() throws Throwable;
  }

  private static long call(Call call) {
    try {
      return call.run();
    } catch (Throwable e) {
      throw new IllegalStateException("a limit was not measured", e);
    }
  }

  @Override
  public void close() {
    arena.close();
  }
}
