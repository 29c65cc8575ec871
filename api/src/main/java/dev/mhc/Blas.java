// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.List;

/**
 * Matrix products in one line: of matrices, of batches a stride apart, and of lists of matrices. Each call prepares a
 * {@link Gemm}, runs it and lets it go; who computes the same shape again makes the Gemm once.
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

  /**
   * {@code D = A B} for matrices that lie anywhere, as many as the lists have, all of the shapes and types of the first, as
   * {@link Gemm#run(List, List, Tensor, List)} computes them.
   *
   * @param a {@code [m, k]} {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32} each
   * @param b {@code [k, n]} each, of the type of a
   * @param d {@code [m, n]} each, of the type of a or FP32, written; in memory of its own
   * @throws NativeLibraryException if the library that computes it cannot be loaded
   */
  public static void gemm(List<Tensor> a, List<Tensor> b, List<Tensor> d) {
    int products = Check.given("a", a, "a list of tensors").size();
    Check.same("b", Check.given("b", b, "a list of tensors").size(), "a", products);
    Check.same("d", Check.given("d", d, "a list of tensors").size(), "a", products);
    if (products == 0) {
      return;
    }
    Tensor first = matrix("a[0]", a.get(0));
    GemmConfig config = GemmConfig.of(first.dtype(), first.shape[0], matrix("b[0]", b.get(0)).shape[1], first.shape[1])
        .withResult(matrix("d[0]", d.get(0)).dtype());
    try (Gemm gemm = Gemm.create(first.device(), config)) {
      gemm.run(a, b, null, d);
    }
  }

  private static Tensor matrix(String name, Tensor tensor) {
    if (Check.given(name, tensor, "a tensor").rank() != 2) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected a matrix");
    }
    return tensor;
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
