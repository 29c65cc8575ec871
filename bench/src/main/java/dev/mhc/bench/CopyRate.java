// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * How fast this machine moves bytes: the C library's memcpy over buffers larger than the caches, shared by as many
 * threads as an operation has. It is the limit of an operation that does nothing but read and write its rows.
 */
public final class CopyRate implements AutoCloseable {
  private static final MethodHandle MEMCPY = memcpy();

  private final Arena arena = Arena.ofShared();
  private final ExecutorService threads;
  private final MemorySegment[] from;
  private final MemorySegment[] to;
  private final long bytes;

  /**
   * Buffers to copy.
   *
   * @param threads that copy
   * @param bytes of each of the two buffers, all threads together
   */
  public CopyRate(int threads, long bytes) {
    this.threads = Executors.newFixedThreadPool(threads, work -> {
      var thread = new Thread(work, "copy");
      thread.setDaemon(true);
      return thread;
    });
    long share = bytes / threads / 4096 * 4096;
    this.bytes = share * threads;
    from = new MemorySegment[threads];
    to = new MemorySegment[threads];
    for (int i = 0; i < threads; i++) {
      from[i] = arena.allocate(share, 4096).fill((byte) 1);
      to[i] = arena.allocate(share, 4096).fill((byte) 2);
    }
  }

  /** Copies once; nanoseconds. */
  public long copy() {
    var waiting = new ArrayList<Future<?>>();
    long start = System.nanoTime();
    for (int i = 0; i < from.length; i++) {
      int part = i;
      waiting.add(threads.submit(() -> copy(to[part], from[part])));
    }
    try {
      for (Future<?> one : waiting) {
        one.get();
      }
    } catch (InterruptedException | java.util.concurrent.ExecutionException e) {
      throw new IllegalStateException("the copy did not end", e);
    }
    return System.nanoTime() - start;
  }

  /** Bytes read and written by one copy. */
  public long moved() {
    return 2 * bytes;
  }

  private static void copy(MemorySegment to, MemorySegment from) {
    try {
      var same = (MemorySegment) MEMCPY.invokeExact(to, from, from.byteSize());
      assert same.address() == to.address();
    } catch (Throwable e) {
      throw new IllegalStateException("memcpy failed", e);
    }
  }

  @SuppressWarnings("restricted")
  private static MethodHandle memcpy() {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().find("memcpy").orElseThrow(),
        FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
  }

  @Override
  public void close() {
    threads.close();
    arena.close();
  }
}
