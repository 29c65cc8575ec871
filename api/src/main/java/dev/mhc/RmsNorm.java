// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_rmsnorm_args;
import dev.mhc.bindings.generated.mhc_rmsnorm_backward_args;
import org.jspecify.annotations.Nullable;

/** {@code y = x / sqrt(mean(x^2) + eps) weight}. Thread-safe; a call allocates nothing. */
public final class RmsNorm {
  private RmsNorm() {}

  /**
   * The norm of each row.
   *
   * @param x {@code [T, C]}
   * @param weight {@code [C]} {@link DType#FP32}; null: ones
   * @param eps at least 0
   * @param y {@code [T, C]}, of the type of x, written; may be x itself
   * @param invRms {@code [T]} {@link DType#FP32}, written: 1 / sqrt(mean(x^2) + eps); null: not wanted
   */
  public static void forward(Tensor x, @Nullable Tensor weight, float eps, Tensor y, @Nullable Tensor invRms) {
    Check.notNegative("eps", eps);
    Call call = Operations.begin(Operation.RMSNORM, "x", x);
    try {
      call.put(mhc_rmsnorm_args.eps$offset(), eps);
      call.put(mhc_rmsnorm_args.x$offset(), "x", x, Types.ROW, "[T, C]", -1, -1);
      long tokens = x.shape[0];
      long c = x.shape[1];
      call.put(mhc_rmsnorm_args.weight$offset(), "weight", weight, Types.FP32 | Types.OPTIONAL, "[C]", c);
      call.put(mhc_rmsnorm_args.y$offset(), "y", y, x.type | Types.OUT, "[T, C]", tokens, c);
      call.put(mhc_rmsnorm_args.inv_rms$offset(), "invRms", invRms, Types.FP32 | Types.OUT | Types.OPTIONAL, "[T]",
          tokens);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /**
   * Backward of {@link #forward}: with {@code g = weight dY} and {@code r = sqrt(mean(x^2) + eps)},
   * {@code dX = (g - x mean(g x) / r^2) / r}, {@code dWeight = sum of dY x / r} over tokens.
   *
   * @param x as in the forward
   * @param weight as in the forward
   * @param eps as in the forward
   * @param dY {@code [T, C]}, of the type of x
   * @param dX {@code [T, C]}, of the type of x, written
   * @param dWeight {@code [C]} {@link DType#FP32}, written; null: not wanted
   * @param accumulate INPUTS is dX, PARAMETERS is dWeight
   */
  public static void backward(Tensor x, @Nullable Tensor weight, float eps, Tensor dY, Tensor dX,
      @Nullable Tensor dWeight, Accumulate accumulate) {
    Check.notNegative("eps", eps);
    Call call = Operations.begin(Operation.RMSNORM_BACKWARD, "x", x);
    try {
      call.put(mhc_rmsnorm_backward_args.eps$offset(), eps);
      call.put(mhc_rmsnorm_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      call.put(mhc_rmsnorm_backward_args.x$offset(), "x", x, Types.ROW, "[T, C]", -1, -1);
      long tokens = x.shape[0];
      long c = x.shape[1];
      call.put(mhc_rmsnorm_backward_args.weight$offset(), "weight", weight, Types.FP32 | Types.OPTIONAL, "[C]", c);
      call.put(mhc_rmsnorm_backward_args.d_y$offset(), "dY", dY, x.type, "[T, C]", tokens, c);
      call.put(mhc_rmsnorm_backward_args.d_x$offset(), "dX", dX, x.type | Types.OUT, "[T, C]", tokens, c);
      call.put(mhc_rmsnorm_backward_args.d_weight$offset(), "dWeight", dWeight,
          Types.FP32 | Types.OUT | Types.OPTIONAL, "[C]", c);
      call.run(tokens);
    } finally {
      call.end();
    }
  }
}
