// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.HyperConnectionConfig.Orientation;
import dev.mhc.bindings.generated.mhc_coefficients_args;
import dev.mhc.bindings.generated.mhc_post_args;
import dev.mhc.bindings.generated.mhc_post_backward_args;
import dev.mhc.bindings.generated.mhc_pre_args;
import dev.mhc.bindings.generated.mhc_pre_backward_args;
import org.jspecify.annotations.Nullable;

/**
 * The steps of a hyper-connection one by one, on coefficients that the caller holds. {@link HyperConnection} does the
 * same in fewer passes over memory; this is for who needs a step alone, or wants to compare.
 *
 * <p>Thread-safe. A call allocates nothing.
 */
public final class Operations {
  private static final int FP32 = Types.FP32;

  private Operations() {}

  /**
   * Coefficients of a layer from its residual (arXiv 2512.24880, Eq. 14 to 19). Reads n C elements a token.
   *
   * @param config conventions of the layer
   * @param parameters what it has learned
   * @param x {@code [T, n, C]}
   * @param out for T tokens, written
   */
  public static void coefficients(HyperConnectionConfig config, Parameters parameters, Tensor x, Coefficients out) {
    Check.given("config", config, "a HyperConnectionConfig");
    Check.given("parameters", parameters, "a Parameters");
    Check.given("out", out, "a Coefficients");
    Call call = begin(Operation.COEFFICIENTS, "x", x);
    try {
      call.put(mhc_coefficients_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, config.streams(), -1);
      call.config(mhc_coefficients_args.config$offset(), config);
      parameters.put(call, mhc_coefficients_args.parameters$offset(), config, x.shape[2]);
      out.put(call, mhc_coefficients_args.out$offset(), config, x.shape[0]);
      call.run(x.shape[0]);
    } finally {
      call.end();
    }
  }

  /**
   * {@code h = sum_i preMix[i] x[i]}. Reads n C, writes C elements a token.
   *
   * @param x {@code [T, n, C]}
   * @param preMix {@code [T, n]} {@link DType#FP32}
   * @param h {@code [T, C]}, written
   */
  public static void pre(Tensor x, Tensor preMix, Tensor h) {
    Call call = begin(Operation.PRE, "x", x);
    try {
      call.put(mhc_pre_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, -1, -1);
      call.put(mhc_pre_args.pre_mix$offset(), "preMix", preMix, FP32, "[T, n]", x.shape[0], x.shape[1]);
      call.put(mhc_pre_args.h$offset(), "h", h, Types.layer(x) | Types.OUT, "[T, C]", x.shape[0], x.shape[2]);
      call.run(x.shape[0]);
    } finally {
      call.end();
    }
  }

  /**
   * Backward of {@link #pre}: {@code dX[i] = preMix[i] dH}, {@code dPreMix[i] = <x[i], dH>}.
   *
   * @param x as in the forward
   * @param preMix as in the forward
   * @param dH {@code [T, C]}
   * @param dX {@code [T, n, C]}, of the type of x, written; null: not wanted
   * @param dPreMix {@code [T, n]}, written; null: not wanted
   * @param accumulate INPUTS is dX; dPreMix is always written
   */
  public static void preBackward(Tensor x, Tensor preMix, Tensor dH, @Nullable Tensor dX, @Nullable Tensor dPreMix,
      Accumulate accumulate) {
    Call call = begin(Operation.PRE_BACKWARD, "x", x);
    try {
      call.put(mhc_pre_backward_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, -1, -1);
      long tokens = x.shape[0];
      long n = x.shape[1];
      long c = x.shape[2];
      call.put(mhc_pre_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      call.put(mhc_pre_backward_args.pre_mix$offset(), "preMix", preMix, FP32, "[T, n]", tokens, n);
      call.put(mhc_pre_backward_args.d_h$offset(), "dH", dH, Types.layer(x), "[T, C]", tokens, c);
      call.put(mhc_pre_backward_args.d_x$offset(), "dX", dX, x.type | Types.OUT | Types.OPTIONAL, "[T, n, C]", tokens,
          n, c);
      call.put(mhc_pre_backward_args.d_pre_mix$offset(), "dPreMix", dPreMix, FP32 | Types.OUT | Types.OPTIONAL,
          "[T, n]", tokens, n);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /**
   * {@code xNext[o] = sum_i H_res[o][i] x[i] + postMix[o] f}. Reads (n + 1) C, writes n C elements a token.
   *
   * @param orientation how resMix stores H_res
   * @param x {@code [T, n, C]}
   * @param f {@code [T, C]}
   * @param postMix {@code [T, n]} {@link DType#FP32}
   * @param resMix {@code [T, n, n]} {@link DType#FP32}
   * @param xNext {@code [T, n, C]}, of the type of x, written; may be x itself
   */
  public static void post(Orientation orientation, Tensor x, Tensor f, Tensor postMix, Tensor resMix, Tensor xNext) {
    Check.given("orientation", orientation, "an Orientation");
    Call call = begin(Operation.POST, "x", x);
    try {
      call.put(mhc_post_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, -1, -1);
      long tokens = x.shape[0];
      long n = x.shape[1];
      long c = x.shape[2];
      call.put(mhc_post_args.orientation$offset(), orientation.ordinal());
      call.put(mhc_post_args.f$offset(), "f", f, Types.layer(x), "[T, C]", tokens, c);
      call.put(mhc_post_args.post_mix$offset(), "postMix", postMix, FP32, "[T, n]", tokens, n);
      call.put(mhc_post_args.res_mix$offset(), "resMix", resMix, FP32, "[T, n, n]", tokens, n, n);
      call.put(mhc_post_args.x_next$offset(), "xNext", xNext, x.type | Types.OUT, "[T, n, C]", tokens, n, c);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /**
   * Backward of {@link #post}: {@code dX[i] = sum_o H_res[o][i] dXNext[o]}, {@code dF = sum_o postMix[o] dXNext[o]},
   * {@code dPostMix[o] = <dXNext[o], f>}, {@code dH_res[o][i] = <dXNext[o], x[i]>}.
   *
   * @param orientation as in the forward
   * @param x as in the forward
   * @param f as in the forward
   * @param postMix as in the forward
   * @param resMix as in the forward
   * @param dXNext {@code [T, n, C]}, of the type of x
   * @param dX {@code [T, n, C]}, of the type of x, written; may be dXNext itself; null: not wanted
   * @param dF {@code [T, C]}, of the type of f, written; null: not wanted
   * @param dPostMix {@code [T, n]}, written; null: not wanted
   * @param dResMix {@code [T, n, n]}, written; null: not wanted
   * @param accumulate INPUTS is dX and dF; the others are always written
   */
  public static void postBackward(Orientation orientation, Tensor x, Tensor f, Tensor postMix, Tensor resMix,
      Tensor dXNext, @Nullable Tensor dX, @Nullable Tensor dF, @Nullable Tensor dPostMix, @Nullable Tensor dResMix,
      Accumulate accumulate) {
    Check.given("orientation", orientation, "an Orientation");
    Call call = begin(Operation.POST_BACKWARD, "x", x);
    try {
      call.put(mhc_post_backward_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, -1, -1);
      long tokens = x.shape[0];
      long n = x.shape[1];
      long c = x.shape[2];
      int wanted = Types.OUT | Types.OPTIONAL;
      call.put(mhc_post_backward_args.orientation$offset(), orientation.ordinal());
      call.put(mhc_post_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      call.put(mhc_post_backward_args.f$offset(), "f", f, Types.layer(x), "[T, C]", tokens, c);
      call.put(mhc_post_backward_args.post_mix$offset(), "postMix", postMix, FP32, "[T, n]", tokens, n);
      call.put(mhc_post_backward_args.res_mix$offset(), "resMix", resMix, FP32, "[T, n, n]", tokens, n, n);
      call.put(mhc_post_backward_args.d_x_next$offset(), "dXNext", dXNext, x.type, "[T, n, C]", tokens, n, c);
      call.put(mhc_post_backward_args.d_x$offset(), "dX", dX, x.type | wanted, "[T, n, C]", tokens, n, c);
      call.put(mhc_post_backward_args.d_f$offset(), "dF", dF, f.type | wanted, "[T, C]", tokens, c);
      call.put(mhc_post_backward_args.d_post_mix$offset(), "dPostMix", dPostMix, FP32 | wanted, "[T, n]", tokens, n);
      call.put(mhc_post_backward_args.d_res_mix$offset(), "dResMix", dResMix, FP32 | wanted, "[T, n, n]", tokens, n, n);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /** The argument block for an operation, of its first tensor's device, begun. */
  static Call begin(Operation operation, String name, @Nullable Tensor first) {
    if (first == null) {
      throw new IllegalArgumentException(name + " is null; expected a tensor");
    }
    Call call = first.device().call(operation);
    call.begin();
    return call;
  }
}
