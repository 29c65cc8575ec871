// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_birkhoff_args;
import dev.mhc.bindings.generated.mhc_doubly_stochastic_distance_args;
import org.jspecify.annotations.Nullable;

/**
 * The Birkhoff-von Neumann decomposition of each matrix of a batch into permutations:
 * {@code matrix = sum_k weight[k] P(permutation[k]) + remainder}, with {@code P(p)[i][p[i]] = 1}. Terms come largest
 * weight first; those that are not used have weight 0 and the identity.
 *
 * @param weight {@code [B, K]} {@link DType#FP32}; K = (n - 1)^2 + 1 suffices for a doubly stochastic matrix
 * @param permutation {@code [B, K, n]} {@link DType#INT32}
 * @param terms {@code [B]} {@link DType#INT32}: how many are used; null: not wanted
 * @param remainder {@code [B]} {@link DType#FP32}: largest |entry| left over; null: not wanted
 */
public record Birkhoff(Tensor weight, Tensor permutation, @Nullable Tensor terms, @Nullable Tensor remainder)
    implements AutoCloseable {

  /** Checks that the tensors without which there is no decomposition are there. */
  public Birkhoff {
    Check.given("weight", weight, "a tensor [B, K]");
    Check.given("permutation", permutation, "a tensor [B, K, n]");
  }

  /**
   * Room for the decomposition of doubly stochastic matrices.
   *
   * @param device that it belongs to
   * @param batch B, at least 0
   * @param n size of the matrices, 1 to 16; K is then (n - 1)^2 + 1
   */
  public static Birkhoff allocate(Device device, long batch, int n) {
    Check.given("device", device, "a Device");
    Check.range("batch", batch, 0, Long.MAX_VALUE);
    Check.range("n", n, 1, 16);
    long k = (n - 1L) * (n - 1L) + 1;
    return Device.whole(() -> new Birkhoff(device.tensor(DType.FP32, batch, k), device.tensor(DType.INT32, batch, k, n),
        device.tensor(DType.INT32, batch), device.tensor(DType.FP32, batch)));
  }

  /**
   * Writes the decomposition, made greedily by bottleneck matching. Thread-safe; allocates nothing.
   *
   * @param matrix {@code [B, n, n]} {@link DType#FP32}, entries at least 0, n at most 16
   * @param out what to write
   */
  public static void decompose(Tensor matrix, Birkhoff out) {
    Check.given("out", out, "a Birkhoff");
    Call call = Operations.begin(Operation.BIRKHOFF, "matrix", matrix);
    try {
      call.put(mhc_birkhoff_args.matrix$offset(), "matrix", matrix, Types.FP32, "[B, n, n]", -1, -1, -1);
      long b = matrix.shape[0];
      long n = matrix.shape[1];
      call.put(mhc_birkhoff_args.matrix$offset(), "matrix", matrix, Types.FP32, "[B, n, n]", b, n, n);
      call.put(mhc_birkhoff_args.weight$offset(), "weight", out.weight, Types.FP32 | Types.OUT, "[B, K]", b, -1);
      call.put(mhc_birkhoff_args.permutation$offset(), "permutation", out.permutation, Types.INT32 | Types.OUT,
          "[B, K, n]", b, out.weight.shape[1], n);
      call.put(mhc_birkhoff_args.terms$offset(), "terms", out.terms, Types.INT32 | Types.OUT | Types.OPTIONAL, "[B]",
          b);
      call.put(mhc_birkhoff_args.remainder$offset(), "remainder", out.remainder,
          Types.FP32 | Types.OUT | Types.OPTIONAL, "[B]", b);
      call.run(b);
    } finally {
      call.end();
    }
  }

  /**
   * How far each matrix is from doubly stochastic: the largest of |row sum - 1|, |column sum - 1| and -entry; NaN if an
   * entry is. Thread-safe; allocates nothing.
   *
   * @param matrix {@code [B, k, k]} {@link DType#FP32}
   * @param distance {@code [B]} {@link DType#FP32}, written
   */
  public static void doublyStochasticDistance(Tensor matrix, Tensor distance) {
    Call call = Operations.begin(Operation.DOUBLY_STOCHASTIC_DISTANCE, "matrix", matrix);
    try {
      call.put(mhc_doubly_stochastic_distance_args.matrix$offset(), "matrix", matrix, Types.FP32, "[B, k, k]", -1, -1,
          -1);
      long b = matrix.shape[0];
      long k = matrix.shape[1];
      call.put(mhc_doubly_stochastic_distance_args.matrix$offset(), "matrix", matrix, Types.FP32, "[B, k, k]", b, k, k);
      call.put(mhc_doubly_stochastic_distance_args.distance$offset(), "distance", distance, Types.FP32 | Types.OUT,
          "[B]", b);
      call.run(b);
    } finally {
      call.end();
    }
  }

  /** Closes the tensors. */
  @Override
  public void close() {
    Parameters.closeAll(weight, permutation, terms, remainder);
  }
}
