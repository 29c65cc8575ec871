// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_expand_args;
import dev.mhc.bindings.generated.mhc_expand_backward_args;

/** From the embedding to n streams, at the start of the network. Thread-safe; a call allocates nothing. */
public final class Expand {
  private Expand() {}

  /**
   * {@code x[i] = embedding} for each stream i.
   *
   * @param embedding {@code [T, C]}
   * @param x {@code [T, n, C]}, written; of the type of the embedding, or {@link DType#FP32}
   */
  public static void forward(Tensor embedding, Tensor x) {
    Call call = Operations.begin(Operation.EXPAND, "embedding", embedding);
    try {
      call.put(mhc_expand_args.embedding$offset(), "embedding", embedding, Types.ROW, "[T, C]", -1, -1);
      call.put(mhc_expand_args.x$offset(), "x", x, embedding.type | Types.FP32 | Types.OUT, "[T, n, C]",
          embedding.shape[0], -1, embedding.shape[1]);
      call.run(embedding.shape[0]);
    } finally {
      call.end();
    }
  }

  /**
   * Backward: {@code dEmbedding = sum_i dX[i]}.
   *
   * @param dX {@code [T, n, C]}
   * @param dEmbedding {@code [T, C]}, written
   * @param accumulate INPUTS is dEmbedding
   */
  public static void backward(Tensor dX, Tensor dEmbedding, Accumulate accumulate) {
    Call call = Operations.begin(Operation.EXPAND_BACKWARD, "dX", dX);
    try {
      call.put(mhc_expand_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      call.put(mhc_expand_backward_args.d_x$offset(), "dX", dX, Types.ROW, "[T, n, C]", -1, -1, -1);
      call.put(mhc_expand_backward_args.d_embedding$offset(), "dEmbedding", dEmbedding, Types.layer(dX) | Types.OUT,
          "[T, C]", dX.shape[0], dX.shape[2]);
      call.run(dX.shape[0]);
    } finally {
      call.end();
    }
  }
}
