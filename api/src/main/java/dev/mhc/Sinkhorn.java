// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_sinkhorn_args;
import dev.mhc.bindings.generated.mhc_sinkhorn_backward_args;

/**
 * Alternating normalisation of rows and columns (arXiv 2512.24880, Eq. 9), of a batch of square matrices of any size:
 * up to 16 x 16 in registers, larger ones tiled and in the log domain.
 *
 * <p>Thread-safe. A call allocates nothing.
 */
public final class Sinkhorn {
  private Sinkhorn() {}

  /**
   * Makes a nearly doubly stochastic matrix of each matrix of logits.
   *
   * @param config its iterations and sinkhorn fields count, no others
   * @param logits {@code [B, k, k]} {@link DType#FP32}, k at least 1
   * @param out {@code [B, k, k]} {@link DType#FP32}, written
   */
  public static void forward(HyperConnectionConfig config, Tensor logits, Tensor out) {
    Check.given("config", config, "a HyperConnectionConfig");
    Call call = Operations.begin(Operation.SINKHORN, "logits", logits);
    try {
      call.config(mhc_sinkhorn_args.config$offset(), config);
      call.put(mhc_sinkhorn_args.logits$offset(), "logits", logits, Types.FP32, "[B, k, k]", -1, -1, -1);
      long b = logits.shape[0];
      long k = logits.shape[1];
      call.put(mhc_sinkhorn_args.logits$offset(), "logits", logits, Types.FP32, "[B, k, k]", b, k, k);
      call.put(mhc_sinkhorn_args.out$offset(), "out", out, Types.FP32 | Types.OUT, "[B, k, k]", b, k, k);
      call.run(b);
    } finally {
      call.end();
    }
  }

  /**
   * Backward of {@link #forward}. The iterates are computed again and walked back: a half-step {@code P = Q / s}, s the
   * sums along one index, has {@code dQ = (dP - sum of dP P along it) / s}; where eps clamps s, {@code dQ = dP / eps}.
   *
   * @param config as in the forward
   * @param logits as in the forward
   * @param dOut {@code [B, k, k]} {@link DType#FP32}
   * @param dLogits {@code [B, k, k]} {@link DType#FP32}, written
   * @param accumulate INPUTS is dLogits
   */
  public static void backward(HyperConnectionConfig config, Tensor logits, Tensor dOut, Tensor dLogits,
      Accumulate accumulate) {
    Check.given("config", config, "a HyperConnectionConfig");
    Call call = Operations.begin(Operation.SINKHORN_BACKWARD, "logits", logits);
    try {
      call.config(mhc_sinkhorn_backward_args.config$offset(), config);
      call.put(mhc_sinkhorn_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      call.put(mhc_sinkhorn_backward_args.logits$offset(), "logits", logits, Types.FP32, "[B, k, k]", -1, -1, -1);
      long b = logits.shape[0];
      long k = logits.shape[1];
      call.put(mhc_sinkhorn_backward_args.logits$offset(), "logits", logits, Types.FP32, "[B, k, k]", b, k, k);
      call.put(mhc_sinkhorn_backward_args.d_out$offset(), "dOut", dOut, Types.FP32, "[B, k, k]", b, k, k);
      call.put(mhc_sinkhorn_backward_args.d_logits$offset(), "dLogits", dLogits, Types.FP32 | Types.OUT, "[B, k, k]", b,
          k, k);
      call.run(b);
    } finally {
      call.end();
    }
  }
}
