// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.time.Duration;
import java.util.Collection;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A thread that looks after all communicators of NCCL, which itself waits for a rank that never comes for ever. */
final class NcclWatch {
  private static final long EVERY = 20; // milliseconds

  private static final Collection<CudaCommunicator> WATCHED = new ConcurrentLinkedQueue<>();
  private static @Nullable Thread thread;

  private NcclWatch() {}

  static synchronized void add(CudaCommunicator communicator) {
    WATCHED.add(communicator);
    if (thread == null) {
      thread = Thread.ofPlatform().daemon().name("mhc-nccl-watch").start(NcclWatch::watch);
    }
  }

  private static void watch() {
    while (true) {
      try {
        Thread.sleep(EVERY);
      } catch (InterruptedException e) {
        continue; // nobody has reason to
      }
      WATCHED.removeIf(communicator -> !communicator.watch());
      if (endsWhenIdle()) {
        return;
      }
    }
  }

  private static synchronized boolean endsWhenIdle() {
    if (WATCHED.isEmpty()) {
      thread = null;
      return true;
    }
    return false;
  }

  /** A call that waits for other ranks, in a thread that is left behind if they do not come. */
  static final class Joining {
    private final CountDownLatch done = new CountDownLatch(1);
    private @Nullable RuntimeException failure; // guarded by this, as is the next
    private boolean left;

    /** undo: what is to be done if they do come, when nobody waits any more. */
    Joining(Runnable join, Runnable undo) {
      Thread.ofPlatform().daemon().name("mhc-nccl-join").start(() -> {
        RuntimeException thrown = null;
        try {
          join.run();
        } catch (RuntimeException e) {
          thrown = e;
        }
        synchronized (this) {
          failure = thrown;
          done.countDown();
          if (!left || thrown != null) {
            return;
          }
        }
        undo.run();
      });
    }

    /** Whether it is done; throws what it threw. */
    boolean await(Duration timeout) {
      try {
        done.await(timeout.toNanos(), TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      synchronized (this) {
        left = done.getCount() > 0;
        if (failure != null) {
          throw failure;
        }
        return !left;
      }
    }
  }
}
