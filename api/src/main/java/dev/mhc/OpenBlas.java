// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.openblas.openblas_h;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** OpenBLAS, row-major. Its number of threads is one for the process; devices that agree on it run side by side. */
final class OpenBlas {
  private static final ReentrantReadWriteLock THREADS = new ReentrantReadWriteLock();
  private static int threads;

  private OpenBlas() {}

  /**
   * Loads it unless it is loaded.
   *
   * @throws NativeLibraryException if it is not there
   */
  static void load() {
    Native.load(VendorLibrary.OPENBLAS);
  }

  /** What OpenBLAS says of itself: version, threading, and the processor that its kernels are for. */
  static String description() {
    load();
    return openblas_h.openblas_get_config().getString(0).strip();
  }

  /**
   * {@code c = alpha op(a) op(b) + beta c}, of float32; op(a) is m x k, op(b) k x n.
   *
   * @param lda floats from one row of a to the next, as it is stored; likewise ldb, ldc
   */
  static void sgemm(int deviceThreads, boolean transposeA, boolean transposeB, int m, int n, int k, float alpha,
      MemorySegment a, int lda, MemorySegment b, int ldb, float beta, MemorySegment c, int ldc) {
    if (m == 0 || n == 0) {
      return;
    }
    lockThreads(deviceThreads);
    try {
      openblas_h.cblas_sgemm(openblas_h.CblasRowMajor(), op(transposeA), op(transposeB), m, n, k, alpha, a, lda, b, ldb,
          beta, c, ldc);
    } finally {
      THREADS.readLock().unlock();
    }
  }

  private static int op(boolean transpose) {
    return transpose ? openblas_h.CblasTrans() : openblas_h.CblasNoTrans();
  }

  /** Returns with the read lock held and the number of threads set. */
  private static void lockThreads(int wanted) {
    THREADS.readLock().lock();
    if (threads == wanted) {
      return;
    }
    THREADS.readLock().unlock();
    THREADS.writeLock().lock(); // when nobody computes
    try {
      if (threads != wanted) {
        openblas_h.openblas_set_num_threads(wanted);
        threads = wanted;
      }
      THREADS.readLock().lock();
    } finally {
      THREADS.writeLock().unlock();
    }
  }
}
