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
    private volatile @Nullable RuntimeException failure;

    Joining(Runnable join) {
      Thread.ofPlatform().daemon().name("mhc-nccl-join").start(() -> {
        try {
          join.run();
        } catch (RuntimeException e) {
          failure = e;
        } finally {
          done.countDown();
        }
      });
    }

    /** Whether it is done; throws what it threw. */
    boolean await(Duration timeout) {
      try {
        if (!done.await(timeout.toNanos(), TimeUnit.NANOSECONDS)) {
          return false;
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return false;
      }
      RuntimeException thrown = failure;
      if (thrown != null) {
        throw thrown;
      }
      return true;
    }
  }
}
