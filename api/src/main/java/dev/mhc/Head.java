// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_head_args;
import dev.mhc.bindings.generated.mhc_head_backward_args;
import org.jspecify.annotations.Nullable;

/**
 * From n streams to one, at the end of the network: {@code y = sum_i weight[i] x[i]}, with weights of 1/n (mean), 1
 * (sum), or {@code sigmoid(scale (x . projection^T) / r + bias) + preEps} (weighted, DeepSeek-V4). Thread-safe; a call
 * allocates nothing.
 */
public final class Head {
  private static final int WEIGHTED = 0;
  private static final int MEAN = 1;
  private static final int SUM = 2;

  /**
   * What a weighted head has learned, all {@link DType#FP32}; or the gradients of it, where null means: not wanted.
   *
   * @param projection {@code [n, n C]}
   * @param scale {@code [1]}
   * @param bias {@code [n]}
   */
  public record Weights(@Nullable Tensor projection, @Nullable Tensor scale, @Nullable Tensor bias) {
    static final Weights NONE = new Weights(null, null, null);
  }

  private Head() {}

  /**
   * The mean of the streams.
   *
   * @param x {@code [T, n, C]}
   * @param y {@code [T, C]}, written
   */
  public static void mean(Tensor x, Tensor y) {
    forward(MEAN, null, Weights.NONE, x, y, null, null);
  }

  /**
   * The sum of the streams.
   *
   * @param x {@code [T, n, C]}
   * @param y {@code [T, C]}, written
   */
  public static void sum(Tensor x, Tensor y) {
    forward(SUM, null, Weights.NONE, x, y, null, null);
  }

  /**
   * A weighted sum of the streams.
   *
   * @param config its rmsEps, rmsEpsMode and preEps count
   * @param weights all of them given
   * @param x {@code [T, n, C]}
   * @param y {@code [T, C]}, written
   * @param mix {@code [T, n]} {@link DType#FP32}, written for the backward: x projection^T / r; null: not wanted
   * @param invRms {@code [T]} {@link DType#FP32}, likewise: 1/r
   */
  public static void weighted(HyperConnectionConfig config, Weights weights, Tensor x, Tensor y, @Nullable Tensor mix,
      @Nullable Tensor invRms) {
    Check.given("config", config, "a HyperConnectionConfig");
    forward(WEIGHTED, config, Check.given("weights", weights, "a Weights"), x, y, mix, invRms);
  }

  /**
   * Backward of {@link #mean}: {@code dX[i] = dY / n}.
   *
   * @param dY {@code [T, C]}
   * @param dX {@code [T, n, C]}, of the type of dY or {@link DType#FP32}, written
   * @param accumulate INPUTS is dX
   */
  public static void meanBackward(Tensor dY, Tensor dX, Accumulate accumulate) {
    backward(MEAN, null, Weights.NONE, null, null, null, dY, dX, Weights.NONE, accumulate);
  }

  /**
   * Backward of {@link #sum}: {@code dX[i] = dY}.
   *
   * @param dY {@code [T, C]}
   * @param dX {@code [T, n, C]}, of the type of dY or {@link DType#FP32}, written
   * @param accumulate INPUTS is dX
   */
  public static void sumBackward(Tensor dY, Tensor dX, Accumulate accumulate) {
    backward(SUM, null, Weights.NONE, null, null, null, dY, dX, Weights.NONE, accumulate);
  }

  /**
   * Backward of {@link #weighted}. With w the weights and {@code dMix[i] = scale w'[i] <x[i], dY>}, w' the derivative of
   * the sigmoid: {@code dX[i] = w[i] dY} + the gradient of mix through the product and r, and the projection gets
   * {@code sum (dMix / r) x} over tokens.
   *
   * @param config as in the forward
   * @param weights as in the forward
   * @param x as in the forward
   * @param mix as the forward made it
   * @param invRms as the forward made it
   * @param dY {@code [T, C]}
   * @param dX {@code [T, n, C]}, of the type of x, written
   * @param gradients of the weights, written
   * @param accumulate INPUTS is dX, PARAMETERS the gradients
   */
  public static void weightedBackward(HyperConnectionConfig config, Weights weights, Tensor x, Tensor mix,
      Tensor invRms, Tensor dY, Tensor dX, Weights gradients, Accumulate accumulate) {
    Check.given("config", config, "a HyperConnectionConfig");
    Check.given("weights", weights, "a Weights");
    Check.given("gradients", gradients, "a Weights");
    backward(WEIGHTED, config, weights, x, mix, invRms, dY, dX, gradients, accumulate);
  }

  private static void forward(int kind, @Nullable HyperConnectionConfig config, Weights weights, Tensor x, Tensor y,
      @Nullable Tensor mix, @Nullable Tensor invRms) {
    Call call = Operations.begin(Operation.HEAD, "x", x);
    try {
      int learned = kind == WEIGHTED ? Types.FP32 : Types.FP32 | Types.OPTIONAL;
      int saved = Types.FP32 | Types.OUT | Types.OPTIONAL;
      call.put(mhc_head_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, -1, -1);
      long tokens = x.shape[0];
      long n = x.shape[1];
      long c = x.shape[2];
      call.put(mhc_head_args.kind$offset(), kind);
      if (config != null) {
        call.config(mhc_head_args.config$offset(), config);
      } else {
        call.clear(mhc_head_args.config$offset());
      }
      call.put(mhc_head_args.projection$offset(), "projection", weights.projection, learned, "[n, n C]", n, n * c);
      call.put(mhc_head_args.scale$offset(), "scale", weights.scale, learned, "[1]", 1);
      call.put(mhc_head_args.bias$offset(), "bias", weights.bias, learned, "[n]", n);
      call.put(mhc_head_args.y$offset(), "y", y, Types.layer(x) | Types.OUT, "[T, C]", tokens, c);
      call.put(mhc_head_args.mix$offset(), "mix", mix, saved, "[T, n]", tokens, n);
      call.put(mhc_head_args.inv_rms$offset(), "invRms", invRms, saved, "[T]", tokens);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  private static void backward(int kind, @Nullable HyperConnectionConfig config, Weights weights, @Nullable Tensor x,
      @Nullable Tensor mix, @Nullable Tensor invRms, Tensor dY, Tensor dX, Weights gradients, Accumulate accumulate) {
    Call call = Operations.begin(Operation.HEAD_BACKWARD, "dX", dX);
    try {
      int needed = kind == WEIGHTED ? 0 : Types.OPTIONAL;
      int wanted = Types.FP32 | Types.OUT | Types.OPTIONAL;
      call.put(mhc_head_backward_args.d_x$offset(), "dX", dX, Types.ROW | Types.OUT, "[T, n, C]", -1, -1, -1);
      long tokens = dX.shape[0];
      long n = dX.shape[1];
      long c = dX.shape[2];
      call.put(mhc_head_backward_args.kind$offset(), kind);
      call.put(mhc_head_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      if (config != null) {
        call.config(mhc_head_backward_args.config$offset(), config);
      } else {
        call.clear(mhc_head_backward_args.config$offset());
      }
      call.put(mhc_head_backward_args.x$offset(), "x", x, dX.type | needed, "[T, n, C]", tokens, n, c);
      call.put(mhc_head_backward_args.projection$offset(), "projection", weights.projection, Types.FP32 | needed,
          "[n, n C]", n, n * c);
      call.put(mhc_head_backward_args.scale$offset(), "scale", weights.scale, Types.FP32 | needed, "[1]", 1);
      call.put(mhc_head_backward_args.bias$offset(), "bias", weights.bias, Types.FP32 | needed, "[n]", n);
      call.put(mhc_head_backward_args.mix$offset(), "mix", mix, Types.FP32 | needed, "[T, n]", tokens, n);
      call.put(mhc_head_backward_args.inv_rms$offset(), "invRms", invRms, Types.FP32 | needed, "[T]", tokens);
      call.put(mhc_head_backward_args.d_y$offset(), "dY", dY, Types.layer(dX), "[T, C]", tokens, c);
      call.put(mhc_head_backward_args.d_projection$offset(), "gradients.projection", gradients.projection, wanted,
          "[n, n C]", n, n * c);
      call.put(mhc_head_backward_args.d_scale$offset(), "gradients.scale", gradients.scale, wanted, "[1]", 1);
      call.put(mhc_head_backward_args.d_bias$offset(), "gradients.bias", gradients.bias, wanted, "[n]", n);
      call.run(tokens);
    } finally {
      call.end();
    }
  }
}
