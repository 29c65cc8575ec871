// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import dev.mhc.Tensor;
import dev.mhc.bench.Measure;
import dev.mhc.bindings.generated.openblas.openblas_h;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * A product of compact fp32 matrices as a program calls it that does not use the Java API: OpenBLAS's function itself. It has to
 * be loaded before.
 *
 * @param a {@code [m, k]}
 * @param b {@code [k, n]}
 * @param d {@code [m, n]}, written
 */
public record Sgemm(Tensor a, Tensor b, Tensor d) {
  /** Has OpenBLAS use so many threads, in all of the process. */
  public static void threads(int count) {
    openblas_h.openblas_set_num_threads(count);
  }

  /** Through the generated bindings. */
  public void run() {
    int m = (int) a.dim(0);
    int k = (int) a.dim(1);
    int n = (int) b.dim(1);
    openblas_h.cblas_sgemm(openblas_h.CblasRowMajor(), openblas_h.CblasNoTrans(), openblas_h.CblasNoTrans(), m, n, k, 1,
        a.segment(), k, b.segment(), n, 0, d.segment(), n);
  }

  /** As often, by a loop in C (native/bench/calls.c); the nanoseconds that it took. */
  long fromC(long count) {
    try {
      return (long) Loop.REPEAT.invokeExact(openblas_h.cblas_sgemm$address(), (int) a.dim(0), (int) b.dim(1),
          (int) a.dim(1), a.segment(), b.segment(), d.segment(), count);
    } catch (Throwable e) {
      throw new IllegalStateException("the loop in C failed", e);
    }
  }

  private static final class Loop {
    static final MethodHandle REPEAT = Measure.function("mhc_repeat_sgemm", ValueLayout.ADDRESS, ValueLayout.JAVA_INT,
        ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS,
        ValueLayout.JAVA_LONG);

    private Loop() {}
  }
}
