// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Matrix products in one line, of matrices or of batches a stride apart. Each call prepares a {@link Gemm}, runs it and
 * lets it go; who computes the same shape again makes the Gemm once.
 *
 * <p>Thread-safe.
 */
public final class Blas {
  private Blas() {}

  /**
   * {@code D = A B}, row-major, for matrices or a batch of them.
   *
   * @param a {@code [m, k]} or {@code [batch, m, k]} {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}
   * @param b {@code [k, n]} or {@code [batch, k, n]}, of the type of a
   * @param d {@code [m, n]} or {@code [batch, m, n]}, of the type of a or FP32, written; in memory of its own
   * @throws NativeLibraryException if the library that computes it cannot be loaded
   */
  public static void gemm(Tensor a, Tensor b, Tensor d) {
    Check.given("a", a, "a tensor");
    Check.given("b", b, "a tensor");
    Check.given("d", d, "a tensor");
    int rank = a.rank();
    if (rank != 2 && rank != 3) {
      throw new IllegalArgumentException("a is " + a + "; expected shape [m, k] or [batch, m, k]");
    }
    if (b.rank() != rank) {
      throw new IllegalArgumentException("b is " + b + "; expected as many dimensions as a has, " + rank);
    }
    GemmConfig one = GemmConfig.of(a.dtype(), a.shape[rank - 2], b.shape[rank - 1], a.shape[rank - 1]).withResult(d.dtype());
    if (rank == 3 && a.shape[0] == 0) {
      checkNone(one, a, b, d);
      return;
    }
    try (Gemm gemm = Gemm.create(a.device(), rank == 3 ? one.withBatch(a.shape[0]) : one)) {
      gemm.run(a, b, d);
    }
  }

  /** What a Gemm checks, which cannot be made for a batch of no product. */
  private static void checkNone(GemmConfig one, Tensor a, Tensor b, Tensor d) {
    Device device = a.device();
    try (var _ = device.held()) {
      device.handle();
      Operand.accept("a", a, device, Types.of(one.aType()), "[batch, m, k]", new long[] {0, one.m(), one.k()});
      Operand.accept("b", b, device, Types.of(one.bType()), "[batch, k, n]", new long[] {0, one.k(), one.n()});
      Operand.accept("d", d, device, Types.of(one.dType()) | Types.OUT, "[batch, m, n]", new long[] {0, one.m(), one.n()});
    }
  }

  /**
   * What computes on this machine's CPU, in words: library, version, threading, kernels.
   *
   * @throws NativeLibraryException if it cannot be loaded
   */
  public static String cpuLibrary() {
    return OpenBlas.description();
  }
}
