// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_boundary_args;
import dev.mhc.bindings.generated.mhc_boundary_backward_args;
import dev.mhc.bindings.generated.mhc_coefficients_args;
import dev.mhc.bindings.generated.mhc_coefficients_backward_args;
import dev.mhc.bindings.generated.mhc_post_args;
import dev.mhc.bindings.generated.mhc_post_backward_args;
import org.jspecify.annotations.Nullable;

/**
 * The hyper-connection around one layer function F: makes F's input from the n streams, and mixes its output back.
 *
 * <p>It holds the coefficients of its last forward, for the steps that follow it and for the backward. A stack of layers
 * goes forward and backward as follows; each call is one pass over memory:
 *
 * <pre>
 *   layer[0].pre(x[0], h[0])                                     f[l] = F_l(h[l])
 *   layer[l].boundary(x[l], f[l], layer[l+1], x[l+1], h[l+1])
 *   layer[last].post(x[last], f[last], xOut)
 *
 *   layer[last].postBackward(x[last], f[last], dXOut, dX, dF)
 *   layer[l].boundaryBackward(x[l], f[l], layer[l+1], dH, dX, dX, dF, gradients[l+1])      dH = F_{l+1}'(dF)
 *   layer[0].preBackward(x[0], dH, dX, dX, gradients[0])
 * </pre>
 *
 * {@snippet file="dev/mhc/examples/TrainingStep.java" region="step"}
 *
 * <p>T may differ from forward to forward; what follows a forward has its T. A larger T than any before makes the
 * coefficient buffers and the workspace grow; apart from that a call allocates nothing.
 *
 * <p>Calls of one layer are safe from any thread, one after the other: the state they share, its coefficients, makes
 * sense in the order above only.
 */
public final class HyperConnection implements AutoCloseable {
  private static final int FP32 = Types.FP32;

  // What a call's block keeps from one use to the next.
  private static final int PARAMETERS = 1;
  private static final int BEFORE = 2; // coefficients of the layer before
  private static final int HELD = 3; // coefficients of this layer
  private static final int GRADIENTS = 4; // of the coefficients of the layer before
  private static final Object NOTHING = new Object(); // there is no layer before

  private final Device device;
  private final HyperConnectionConfig config;
  private final Parameters parameters;
  private final long width; // C, or -1 where the parameters do not tell it
  private final CoefficientBuffers buffers;

  private final Call entry; // the boundary that enters this layer
  private final Call post;
  private @Nullable Call coefficients;
  private @Nullable Call entryBackward;
  private @Nullable Call postBackward;
  private @Nullable Call coefficientsBackward;

  private HyperConnection(Device device, HyperConnectionConfig config, Parameters parameters, long maxTokens) {
    this.device = device;
    this.config = config;
    this.parameters = parameters;
    Tensor projection = config.isDynamic() ? parameters.projection() : null;
    width = projection == null || projection.rank() != 2 ? -1 : projection.shape[1] / config.streams();
    entry = new Call(device, Operation.BOUNDARY);
    entry.begin();
    try {
      parameters.put(entry, mhc_boundary_args.parameters$offset(), config, width); // for its checks
    } finally {
      entry.end();
    }
    post = new Call(device, Operation.POST);
    buffers = new CoefficientBuffers(device, config, maxTokens);
    CoefficientBuffers watched = buffers;
    Leaks.watch(this, "hyper-connection of " + config.streams() + " streams", watched::isClosed);
  }

  /**
   * A layer.
   *
   * @param device where it runs; the parameters belong to it
   * @param config its conventions
   * @param parameters what it has learned; they are used, not copied, and stay the caller's to close
   * @throws IllegalArgumentException if the parameters do not fit the config
   */
  public static HyperConnection create(Device device, HyperConnectionConfig config, Parameters parameters) {
    return create(device, config, parameters, 0);
  }

  /**
   * A layer with buffers for a number of tokens.
   *
   * @param device where it runs; the parameters belong to it
   * @param config its conventions
   * @param parameters what it has learned; they are used, not copied, and stay the caller's to close
   * @param maxTokens tokens to make room for at once; more of them can come
   * @throws IllegalArgumentException if the parameters do not fit the config
   */
  public static HyperConnection create(Device device, HyperConnectionConfig config, Parameters parameters,
      long maxTokens) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "a HyperConnectionConfig");
    Check.given("parameters", parameters, "a Parameters");
    Check.range("maxTokens", maxTokens, 0, Integer.MAX_VALUE);
    return new HyperConnection(device, config, parameters, maxTokens);
  }

  /** The device it runs on. */
  public Device device() {
    return device;
  }

  /** Its conventions. */
  public HyperConnectionConfig config() {
    return config;
  }

  /** What it has learned. */
  public Parameters parameters() {
    return parameters;
  }

  // ------------------------------------------------------------------------------------------------ forward

  /**
   * Coefficients of this layer from its residual, and h, in one pass (arXiv 2512.24880, Eq. 14 to 19): for the first
   * layer of a stack. Where the config is shifted, h is the first stream. Reads n C, writes C elements a token.
   *
   * @param x {@code [T, n, C]}, the residual that enters this layer
   * @param h {@code [T, C]}, written: the input of F
   */
  public void pre(Tensor x, Tensor h) {
    enter(null, x, null, null, null, null, h, null, 0, null, null, null, Fp8.Rounding.EXACT, false);
  }

  /**
   * As {@link #pre(Tensor, Tensor)}, with the norm of h or in FP8.
   *
   * @param x {@code [T, n, C]}, the residual that enters this layer
   * @param input what to make for F
   */
  public void pre(Tensor x, LayerInput input) {
    Check.given("input", input, "a LayerInput");
    enter(null, x, null, null, null, null, input.h(), input.normWeight(), input.normEps(), input.y(), input.fp8(),
        input.fp8Scale(), input.rounding(), false);
  }

  /**
   * The start of a shifted stack with another preMix than the first stream.
   *
   * @param x {@code [T, n, C]}, the residual that enters this layer
   * @param preMix {@code [T, n]} {@link DType#FP32}: what each stream counts in h
   * @param input what to make for F
   * @throws IllegalArgumentException also if the config is not shifted
   */
  public void pre(Tensor x, Tensor preMix, LayerInput input) {
    Check.given("preMix", preMix, "a tensor [T, n]");
    Check.given("input", input, "a LayerInput");
    if (!config.shifted()) {
      throw new IllegalArgumentException("preMix is given; expected none, because the config is not shifted");
    }
    enter(null, x, null, null, null, preMix, input.h(), input.normWeight(), input.normEps(), input.y(), input.fp8(),
        input.fp8Scale(), input.rounding(), false);
  }

  /**
   * Everything between F of this layer and F of the next one, in one pass: {@code xNext[o] = sum_i resMix[o][i] x[i] +
   * postMix[o] f}, the next layer's coefficients from xNext, and h from them. Bit for bit what {@link #post} and the next
   * layer's {@link #pre(Tensor, Tensor)} give. Reads and writes (n + 1) C elements a token.
   *
   * @param x {@code [T, n, C]}, the residual that entered this layer
   * @param f {@code [T, C]}, output of F of this layer
   * @param next the next layer, with the same streams and orientation; its coefficients are made
   * @param xNext {@code [T, n, C]}, of the type of x, written: the residual that enters the next layer; may be x itself
   * @param hNext {@code [T, C]}, written: the input of F of the next layer
   */
  public void boundary(Tensor x, Tensor f, HyperConnection next, Tensor xNext, Tensor hNext) {
    following(next).enter(this, x, f, null, xNext, null, hNext, null, 0, null, null, null, Fp8.Rounding.EXACT, true);
  }

  /**
   * As {@link #boundary(Tensor, Tensor, HyperConnection, Tensor, Tensor)}, with the norm of h or in FP8.
   *
   * @param x {@code [T, n, C]}, the residual that entered this layer
   * @param f {@code [T, C]}, output of F of this layer
   * @param next the next layer, with the same streams and orientation; its coefficients are made
   * @param xNext {@code [T, n, C]}, of the type of x, written: the residual that enters the next layer; may be x itself
   * @param input what to make for F of the next layer
   */
  public void boundary(Tensor x, Tensor f, HyperConnection next, Tensor xNext, LayerInput input) {
    boundary(x, f, null, next, xNext, input);
  }

  /**
   * As {@link #boundary(Tensor, Tensor, HyperConnection, Tensor, LayerInput)}, with F's output in FP8: of its C elements a
   * byte each is read.
   *
   * @param x {@code [T, n, C]}, the residual that entered this layer
   * @param output what F of this layer gave
   * @param next the next layer, with the same streams and orientation; its coefficients are made
   * @param xNext {@code [T, n, C]}, of the type of x, written: the residual that enters the next layer; may be x itself
   * @param input what to make for F of the next layer
   */
  public void boundary(Tensor x, LayerOutput output, HyperConnection next, Tensor xNext, LayerInput input) {
    Check.given("output", output, "a LayerOutput");
    boundary(x, output.f(), output.scale(), next, xNext, input);
  }

  private void boundary(Tensor x, Tensor f, @Nullable Tensor scale, HyperConnection next, Tensor xNext,
      LayerInput input) {
    Check.given("input", input, "a LayerInput");
    following(next).enter(this, x, f, scale, xNext, null, input.h(), input.normWeight(), input.normEps(), input.y(),
        input.fp8(), input.fp8Scale(), input.rounding(), true);
  }

  /**
   * Mixes F's output into the streams: {@code xNext[o] = sum_i resMix[o][i] x[i] + postMix[o] f}. For the last layer of
   * a stack. Reads (n + 1) C, writes n C elements a token.
   *
   * @param x {@code [T, n, C]}, the residual that entered this layer
   * @param f {@code [T, C]}, output of F
   * @param xNext {@code [T, n, C]}, of the type of x, written; may be x itself
   * @throws IllegalStateException if this layer has no coefficients yet
   */
  public void post(Tensor x, Tensor f, Tensor xNext) {
    post(x, f, null, xNext);
  }

  /**
   * As {@link #post(Tensor, Tensor, Tensor)}, with F's output in FP8: of its C elements a byte each is read.
   *
   * @param x {@code [T, n, C]}, the residual that entered this layer
   * @param output what F gave
   * @param xNext {@code [T, n, C]}, of the type of x, written; may be x itself
   * @throws IllegalStateException if this layer has no coefficients yet
   */
  public void post(Tensor x, LayerOutput output, Tensor xNext) {
    Check.given("output", output, "a LayerOutput");
    post(x, output.f(), output.scale(), xNext);
  }

  private void post(Tensor x, Tensor f, @Nullable Tensor scale, Tensor xNext) {
    Call call = post;
    call.begin();
    try {
      Coefficients held = buffers.current();
      long tokens = held.preMix().shape[0];
      int n = config.streams();
      call.put(mhc_post_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", tokens, n, width);
      long c = x.shape[2];
      call.put(mhc_post_args.f$offset(), "f", f, LayerOutput.types(x, scale), "[T, C]", tokens, c);
      LayerOutput.putScale(call, mhc_post_args.f_scale$offset(), "scale", scale, tokens, c);
      call.put(mhc_post_args.x_next$offset(), "xNext", xNext, x.type | Types.OUT, "[T, n, C]", tokens, n, c);
      if (call.changed(HELD, held)) {
        call.put(mhc_post_args.post_mix$offset(), "postMix", held.postMix(), FP32, "[T, n]", tokens, n);
        call.put(mhc_post_args.res_mix$offset(), "resMix", held.resMix(), FP32, "[T, n, n]", tokens, n, n);
      }
      call.put(mhc_post_args.orientation$offset(), config.orientation().ordinal());
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /**
   * Coefficients of this layer from its residual, without h. Reads n C elements a token.
   *
   * @param x {@code [T, n, C]}
   * @return {@link #coefficients()}
   */
  public Coefficients coefficients(Tensor x) {
    Call call = coefficients;
    if (call == null) {
      call = coefficients = new Call(device, Operation.COEFFICIENTS);
    }
    call.begin();
    try {
      call.put(mhc_coefficients_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", -1, config.streams(), width);
      long tokens = x.shape[0];
      call.config(mhc_coefficients_args.config$offset(), config);
      parameters.putOnce(call, PARAMETERS, mhc_coefficients_args.parameters$offset(), config, x.shape[2]);
      Coefficients made = buffers.prepare(tokens);
      if (call.changed(HELD, made)) {
        made.put(call, mhc_coefficients_args.out$offset(), config, tokens);
      }
      call.run(tokens);
      buffers.computed();
      return made;
    } finally {
      call.end();
    }
  }

  /**
   * The coefficients of the last forward, without a copy. They are good until this layer's next forward; keep a copy if
   * you need them longer.
   *
   * @throws IllegalStateException if there was none
   */
  public Coefficients coefficients() {
    try (var _ = device.held()) {
      return buffers.current();
    }
  }

  private HyperConnection following(@Nullable HyperConnection next) {
    Check.given("next", next, "the next layer");
    if (next == this) {
      throw new IllegalArgumentException("next is this layer itself; expected another, which may have the same parameters");
    }
    if (next.device != device) {
      throw new IllegalArgumentException("next is on " + next.device + ", another device; expected " + device);
    }
    if (next.config.streams() != config.streams() || next.config.orientation() != config.orientation()) {
      throw new IllegalArgumentException("next has " + next.config.streams() + " streams and orientation "
          + next.config.orientation() + "; expected " + config.streams() + " and " + config.orientation()
          + ", as this layer has");
    }
    return next;
  }

  /** The boundary that enters this layer. previous, f and xNext are given together, for all layers but the first. */
  private void enter(@Nullable HyperConnection previous, Tensor x, @Nullable Tensor f, @Nullable Tensor fScale,
      @Nullable Tensor xNext, @Nullable Tensor shiftedPreMix, @Nullable Tensor h, @Nullable Tensor normWeight,
      float normEps, @Nullable Tensor y, @Nullable Tensor fp8, @Nullable Tensor fp8Scale,
      Fp8.Rounding rounding, boolean afterF) {
    Call call = entry;
    call.begin();
    try {
      if (shiftedPreMix == null && call.repeats(previous == null ? NOTHING : previous.buffers.computedOrNull(), x, f,
          fScale, xNext, h, normWeight, y, fp8, fp8Scale, buffers.heldOrNull(), rounding, normEps)) {
        buffers.computed();
        return;
      }
      int n = config.streams();
      Coefficients before = previous == null ? null : previous.buffers.current();
      long tokens = before == null ? -1 : before.preMix().shape[0];
      call.put(mhc_boundary_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", tokens, n, width);
      tokens = x.shape[0];
      long c = x.shape[2];
      int layer = Types.layer(x);
      call.config(mhc_boundary_args.config$offset(), config);
      parameters.putOnce(call, PARAMETERS, mhc_boundary_args.parameters$offset(), config, c);
      if (before != null) {
        call.put(mhc_boundary_args.f$offset(), "f", f, LayerOutput.types(x, fScale), "[T, C]", tokens, c);
        layer = LayerOutput.layer(x, f);
        LayerOutput.putScale(call, mhc_boundary_args.f_scale$offset(), "scale", fScale, tokens, c);
        call.put(mhc_boundary_args.x_next$offset(), "xNext", xNext, x.type | Types.OUT, "[T, n, C]", tokens, n, c);
        if (call.changed(BEFORE, before)) {
          call.put(mhc_boundary_args.post_mix$offset(), "postMix", before.postMix(), FP32, "[T, n]", tokens, n);
          call.put(mhc_boundary_args.res_mix$offset(), "resMix", before.resMix(), FP32, "[T, n, n]", tokens, n, n);
        }
      } else if (call.changed(BEFORE, NOTHING)) {
        call.clear(mhc_boundary_args.f$offset());
        call.clear(mhc_boundary_args.f_scale$offset());
        call.clear(mhc_boundary_args.x_next$offset());
        call.clear(mhc_boundary_args.post_mix$offset());
        call.clear(mhc_boundary_args.res_mix$offset());
      }
      int outputs = layer | Types.OUT;
      call.put(mhc_boundary_args.h$offset(), afterF ? "hNext" : "h", h,
          y == null && fp8 == null ? outputs : outputs | Types.OPTIONAL, "[T, C]", tokens, c);
      if (h != null) {
        outputs = h.type | Types.OUT;
      }
      call.put(mhc_boundary_args.norm_weight$offset(), "normWeight", normWeight, FP32 | Types.OPTIONAL, "[C]", c);
      call.put(mhc_boundary_args.norm_eps$offset(), normEps);
      call.put(mhc_boundary_args.y$offset(), "y", y, outputs | Types.OPTIONAL, "[T, C]", tokens, c);
      call.put(mhc_boundary_args.h_fp8$offset(), "fp8", fp8, Types.FP8_E4M3 | Types.OUT | Types.OPTIONAL, "[T, C]",
          tokens, c);
      call.put(mhc_boundary_args.h_scale$offset(), "fp8Scale", fp8Scale,
          Types.SCALE | Types.OUT | Types.OPTIONAL | Types.ANY_STRIDES, "[T, ceil(C / 128)]", tokens, (c + 127) / 128);
      call.put(mhc_boundary_args.fp8_scale_rounding$offset(), rounding.ordinal());
      if (config.shifted()) {
        Tensor used = before != null ? before.preMix()
            : shiftedPreMix != null ? shiftedPreMix : buffers.firstStream(tokens);
        call.put(mhc_boundary_args.shifted_pre_mix$offset(), "preMix", used, FP32, "[T, n]", tokens, n);
      } else {
        call.clear(mhc_boundary_args.shifted_pre_mix$offset());
      }
      Coefficients made = buffers.prepare(tokens);
      if (call.changed(HELD, made)) {
        made.put(call, mhc_boundary_args.next$offset(), config, tokens);
      }
      call.run(tokens);
      buffers.computed();
      if (shiftedPreMix == null) {
        call.remember(before == null ? NOTHING : before, x, f, fScale, xNext, h, normWeight, y, fp8, fp8Scale, made,
            rounding, normEps);
      } else {
        call.forget();
      }
    } finally {
      call.end();
    }
  }

  // ------------------------------------------------------------------------------------------------ backward

  /**
   * Backward of {@link #pre(Tensor, Tensor)}: the last step for a stack. Takes the gradients of this layer's postMix and
   * resMix from its {@link #postBackward} or {@link #boundaryBackward}: {@code dX[i] = dXLater[i] + preMix[i] dH} + what
   * {@link #coefficientsBackward} makes of them and of {@code dPreMix[i] = <x[i], dH>}.
   *
   * @param x as in the forward
   * @param dH {@code [T, C]}, gradient of h
   * @param dXLater {@code [T, n, C]}, of the type of x: what reaches x from later layers; null: nothing
   * @param dX {@code [T, n, C]}, of the type of x, written: the gradient of x; may be dXLater itself
   * @param gradients of this layer's parameters; null: not wanted
   */
  public void preBackward(Tensor x, Tensor dH, @Nullable Tensor dXLater, Tensor dX, @Nullable Gradients gradients) {
    enterBackward(null, x, null, null, dH, null, 0, null, dXLater, dX, null, gradients, Accumulate.NONE, null);
  }

  /**
   * As {@link #preBackward(Tensor, Tensor, Tensor, Tensor, Gradients)}, for a {@link LayerInput} with a norm, or adding
   * to gradients.
   *
   * @param x as in the forward
   * @param dInput gradient of what the forward made for F
   * @param dXLater what reaches x from later layers; null: nothing
   * @param dX written: the gradient of x; may be dXLater itself
   * @param gradients of this layer's parameters; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX
   */
  public void preBackward(Tensor x, LayerInputGradient dInput, @Nullable Tensor dXLater, Tensor dX,
      @Nullable Gradients gradients, Accumulate accumulate) {
    preBackward(x, null, dInput, dXLater, dX, gradients, accumulate);
  }

  /**
   * As above, for {@link #pre(Tensor, Tensor, LayerInput)}.
   *
   * @param x as in the forward
   * @param preMix as in the forward; null: the first stream
   * @param dInput gradient of what the forward made for F
   * @param dXLater what reaches x from later layers; null: nothing
   * @param dX written: the gradient of x; may be dXLater itself
   * @param gradients of this layer's parameters; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX
   */
  public void preBackward(Tensor x, @Nullable Tensor preMix, LayerInputGradient dInput, @Nullable Tensor dXLater,
      Tensor dX, @Nullable Gradients gradients, Accumulate accumulate) {
    Check.given("dInput", dInput, "a LayerInputGradient");
    if (preMix != null && !config.shifted()) {
      throw new IllegalArgumentException("preMix is given; expected null, because the config is not shifted");
    }
    enterBackward(null, x, null, null, dInput.dInput(), dInput.normWeight(), dInput.normEps(), dInput.dNormWeight(), dXLater,
        dX, null, gradients, accumulate, preMix);
  }

  /**
   * Backward of {@link #boundary(Tensor, Tensor, HyperConnection, Tensor, Tensor)} in one pass; xNext is rebuilt on the
   * way. Makes the gradients of this layer's postMix and resMix, which the layer keeps for its own entry's backward:
   * what {@link Operations#postBackward} makes of the gradient of xNext, which is what {@link #preBackward} of the next
   * layer makes of dHNext and dXNext. Rounding has derivative 1. Reads (2 n + 2) C, writes (n + 1) C elements a token.
   *
   * @param x as in the forward
   * @param f as in the forward
   * @param next as in the forward; its coefficients are still those that the forward made
   * @param dHNext {@code [T, C]}, gradient of hNext
   * @param dXNext {@code [T, n, C]}, of the type of x: what reaches xNext from later layers; null: nothing
   * @param dX {@code [T, n, C]}, of the type of x, written: the part of x's gradient that passes this boundary; may be
   *     dXNext itself
   * @param dF {@code [T, C]}, of the type of f, written: gradient of f
   * @param nextGradients of the next layer's parameters; null: not wanted
   */
  public void boundaryBackward(Tensor x, Tensor f, HyperConnection next, Tensor dHNext, @Nullable Tensor dXNext,
      Tensor dX, Tensor dF, @Nullable Gradients nextGradients) {
    following(next).enterBackward(this, x, f, null, dHNext, null, 0, null, dXNext, dX, dF, nextGradients, Accumulate.NONE,
        null);
  }

  /**
   * As {@link #boundaryBackward(Tensor, Tensor, HyperConnection, Tensor, Tensor, Tensor, Tensor, Gradients)}, for a
   * {@link LayerInput} with a norm, or adding to gradients.
   *
   * @param x as in the forward
   * @param f as in the forward
   * @param next as in the forward
   * @param dInput gradient of what the forward made for F of the next layer
   * @param dXNext what reaches xNext from later layers; null: nothing
   * @param dX written: the part of x's gradient that passes this boundary; may be dXNext itself
   * @param dF written: gradient of f
   * @param nextGradients of the next layer's parameters; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX and dF
   */
  public void boundaryBackward(Tensor x, Tensor f, HyperConnection next, LayerInputGradient dInput,
      @Nullable Tensor dXNext, Tensor dX, Tensor dF, @Nullable Gradients nextGradients, Accumulate accumulate) {
    boundaryBackward(x, f, null, next, dInput, dXNext, dX, dF, nextGradients, accumulate);
  }

  /**
   * As above, for F's output in FP8.
   *
   * @param x as in the forward
   * @param output as in the forward
   * @param next as in the forward
   * @param dInput gradient of what the forward made for F of the next layer
   * @param dXNext what reaches xNext from later layers; null: nothing
   * @param dX written: the part of x's gradient that passes this boundary; may be dXNext itself
   * @param dF {@code [T, C]}, of the type of dInput's, written: gradient of f's values
   * @param nextGradients of the next layer's parameters; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX and dF
   */
  public void boundaryBackward(Tensor x, LayerOutput output, HyperConnection next, LayerInputGradient dInput,
      @Nullable Tensor dXNext, Tensor dX, Tensor dF, @Nullable Gradients nextGradients, Accumulate accumulate) {
    Check.given("output", output, "a LayerOutput");
    boundaryBackward(x, output.f(), output.scale(), next, dInput, dXNext, dX, dF, nextGradients, accumulate);
  }

  private void boundaryBackward(Tensor x, Tensor f, @Nullable Tensor scale, HyperConnection next,
      LayerInputGradient dInput, @Nullable Tensor dXNext, Tensor dX, Tensor dF, @Nullable Gradients nextGradients,
      Accumulate accumulate) {
    Check.given("dInput", dInput, "a LayerInputGradient");
    following(next).enterBackward(this, x, f, scale, dInput.dInput(), dInput.normWeight(), dInput.normEps(),
        dInput.dNormWeight(), dXNext, dX, dF, nextGradients, accumulate, null);
  }

  /**
   * Backward of {@link #post}, by the equations of {@link Operations#postBackward}: the first step for a stack. Makes the
   * gradients of this layer's postMix and resMix, which the layer keeps for its own entry's backward. Reads (2 n + 1) C, writes (n + 1) C elements a token.
   *
   * @param x as in the forward
   * @param f as in the forward
   * @param dXNext {@code [T, n, C]}, of the type of x: gradient of xNext
   * @param dX {@code [T, n, C]}, of the type of x, written: the part of x's gradient that passes here; may be dXNext
   *     itself; null: not wanted
   * @param dF {@code [T, C]}, of the type of f, written: gradient of f; null: not wanted
   */
  public void postBackward(Tensor x, Tensor f, Tensor dXNext, @Nullable Tensor dX, @Nullable Tensor dF) {
    postBackward(x, f, dXNext, dX, dF, Accumulate.NONE);
  }

  /**
   * As {@link #postBackward(Tensor, Tensor, Tensor, Tensor, Tensor)}, or adding.
   *
   * @param x as in the forward
   * @param f as in the forward
   * @param dXNext gradient of xNext
   * @param dX written; may be dXNext itself; null: not wanted
   * @param dF written; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX and dF
   */
  public void postBackward(Tensor x, Tensor f, Tensor dXNext, @Nullable Tensor dX, @Nullable Tensor dF,
      Accumulate accumulate) {
    postBackward(x, f, null, dXNext, dX, dF, accumulate);
  }

  /**
   * As above, for F's output in FP8.
   *
   * @param x as in the forward
   * @param output as in the forward
   * @param dXNext gradient of xNext
   * @param dX written; may be dXNext itself; null: not wanted
   * @param dF {@code [T, C]}, of a layer tensor's type, written: gradient of f's values; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX and dF
   */
  public void postBackward(Tensor x, LayerOutput output, Tensor dXNext, @Nullable Tensor dX, @Nullable Tensor dF,
      Accumulate accumulate) {
    Check.given("output", output, "a LayerOutput");
    postBackward(x, output.f(), output.scale(), dXNext, dX, dF, accumulate);
  }

  private void postBackward(Tensor x, Tensor f, @Nullable Tensor scale, Tensor dXNext, @Nullable Tensor dX,
      @Nullable Tensor dF, Accumulate accumulate) {
    Call call = postBackward;
    if (call == null) {
      call = postBackward = new Call(device, Operation.POST_BACKWARD);
    }
    call.begin();
    try {
      call.put(mhc_post_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      Coefficients held = buffers.current();
      long tokens = held.preMix().shape[0];
      int n = config.streams();
      call.put(mhc_post_backward_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", tokens, n, width);
      long c = x.shape[2];
      call.put(mhc_post_backward_args.f$offset(), "f", f, LayerOutput.types(x, scale), "[T, C]", tokens, c);
      LayerOutput.putScale(call, mhc_post_backward_args.f_scale$offset(), "scale", scale, tokens, c);
      call.put(mhc_post_backward_args.d_x_next$offset(), "dXNext", dXNext, x.type, "[T, n, C]", tokens, n, c);
      call.put(mhc_post_backward_args.d_x$offset(), "dX", dX, x.type | Types.OUT | Types.OPTIONAL, "[T, n, C]", tokens,
          n, c);
      call.put(mhc_post_backward_args.d_f$offset(), "dF", dF,
          LayerOutput.layer(x, f) | Types.OUT | Types.OPTIONAL, "[T, C]", tokens, c);
      Coefficients made = buffers.gradients();
      if (call.changed(HELD, held) | call.changed(GRADIENTS, made)) {
        call.put(mhc_post_backward_args.post_mix$offset(), "postMix", held.postMix(), FP32, "[T, n]", tokens, n);
        call.put(mhc_post_backward_args.res_mix$offset(), "resMix", held.resMix(), FP32, "[T, n, n]", tokens, n, n);
        call.put(mhc_post_backward_args.d_post_mix$offset(), "dPostMix", made.postMix(), FP32, "[T, n]", tokens, n);
        call.put(mhc_post_backward_args.d_res_mix$offset(), "dResMix", made.resMix(), FP32, "[T, n, n]", tokens, n, n);
      }
      call.put(mhc_post_backward_args.orientation$offset(), config.orientation().ordinal());
      call.run(tokens);
      buffers.gradientsComputed(false);
    } finally {
      call.end();
    }
  }

  /**
   * Backward of {@link #coefficients(Tensor)}, from the gradients in {@link #coefficientGradients()}. With dz the gradient
   * of {@code scale mix + bias}, which sigmoid, tanh, softmax or Sinkhorn make of those, and {@code dMix = scale dz}: bias
   * gets {@code sum dz}, scale {@code sum <dz, mix>} of its part, the projection {@code sum (dMix / r) x}, sums over
   * tokens, and {@code dX = (dMix / r) projection - x <dMix, mix> / (n C r^2)}. Reads n C, writes n C elements a token.
   *
   * @param x as in the forward
   * @param dX {@code [T, n, C]}, of the type of x, written: gradient of x; null: not wanted
   * @param gradients of this layer's parameters; null: not wanted
   * @param accumulate what is added instead of written: INPUTS is dX
   */
  public void coefficientsBackward(Tensor x, @Nullable Tensor dX, @Nullable Gradients gradients,
      Accumulate accumulate) {
    Call call = coefficientsBackward;
    if (call == null) {
      call = coefficientsBackward = new Call(device, Operation.COEFFICIENTS_BACKWARD);
    }
    call.begin();
    try {
      call.put(mhc_coefficients_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      Coefficients held = buffers.current();
      long tokens = held.preMix().shape[0];
      int n = config.streams();
      call.put(mhc_coefficients_backward_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", tokens, n, width);
      long c = x.shape[2];
      call.config(mhc_coefficients_backward_args.config$offset(), config);
      parameters.putOnce(call, PARAMETERS, mhc_coefficients_backward_args.parameters$offset(), config, c);
      putSaved(call, held, mhc_coefficients_backward_args.mix$offset(), mhc_coefficients_backward_args.inv_rms$offset());
      Coefficients given = buffers.gradientsGiven();
      call.put(mhc_coefficients_backward_args.d_pre_mix$offset(), "dPreMix",
          buffers.hasPreGradient() ? given.preMix() : null, FP32 | Types.OPTIONAL, "[T, n]", tokens, n);
      call.put(mhc_coefficients_backward_args.d_post_mix$offset(), "dPostMix", given.postMix(), FP32, "[T, n]", tokens,
          n);
      call.put(mhc_coefficients_backward_args.d_res_mix$offset(), "dResMix", given.resMix(), FP32, "[T, n, n]", tokens,
          n, n);
      call.put(mhc_coefficients_backward_args.d_x$offset(), "dX", dX, x.type | Types.OUT | Types.OPTIONAL, "[T, n, C]",
          tokens, n, c);
      (gradients == null ? Gradients.UNWANTED : gradients).put(call,
          mhc_coefficients_backward_args.d_parameters$offset(), config, c);
      call.run(tokens);
    } finally {
      call.end();
    }
  }

  /**
   * The gradients of this layer's coefficients as its backward keeps them, for who has other uses of the coefficients
   * than this layer's own: read them, add to them, or set them. They have no mix and no invRms. Those that no backward
   * has made since the last forward are zero.
   *
   * @throws IllegalStateException if there was no forward
   */
  public Coefficients coefficientGradients() {
    try (var _ = device.held()) {
      return buffers.gradientsToEdit();
    }
  }

  private void enterBackward(@Nullable HyperConnection previous, Tensor x, @Nullable Tensor f,
      @Nullable Tensor fScale, Tensor dH, @Nullable Tensor normWeight, float normEps, @Nullable Tensor dNormWeight,
      @Nullable Tensor dXLater, Tensor dX, @Nullable Tensor dF,
      @Nullable Gradients gradients, Accumulate accumulate, @Nullable Tensor shiftedPreMix) {
    Call call = entryBackward;
    if (call == null) {
      call = entryBackward = new Call(device, Operation.BOUNDARY_BACKWARD);
    }
    call.begin();
    try {
      call.put(mhc_boundary_backward_args.accumulate$offset(), Accumulate.bits(accumulate));
      Coefficients held = buffers.current();
      long tokens = held.preMix().shape[0];
      int n = config.streams();
      call.put(mhc_boundary_backward_args.x$offset(), "x", x, Types.ROW, "[T, n, C]", tokens, n, width);
      long c = x.shape[2];
      int layer = Types.layer(x);
      call.config(mhc_boundary_backward_args.config$offset(), config);
      parameters.putOnce(call, PARAMETERS, mhc_boundary_backward_args.parameters$offset(), config, c);
      if (call.changed(HELD, held)) {
        putSaved(call, held, mhc_boundary_backward_args.mix$offset(), mhc_boundary_backward_args.inv_rms$offset());
      }

      Coefficients before = null;
      if (previous != null) {
        before = previous.buffers.current();
        if (before.preMix().shape[0] != tokens) {
          throw new IllegalStateException("next has coefficients for " + tokens + " tokens, this layer for "
              + before.preMix().shape[0] + ": they are not of one forward");
        }
        call.put(mhc_boundary_backward_args.f$offset(), "f", f, LayerOutput.types(x, fScale), "[T, C]", tokens, c);
        LayerOutput.putScale(call, mhc_boundary_backward_args.f_scale$offset(), "scale", fScale, tokens, c);
        layer = LayerOutput.layer(x, f);
        call.put(mhc_boundary_backward_args.d_f$offset(), "dF", dF, layer | Types.OUT, "[T, C]", tokens, c);
        layer = dF.type;
        Coefficients made = previous.buffers.gradients();
        if (call.changed(BEFORE, before) | call.changed(GRADIENTS, made)) {
          call.put(mhc_boundary_backward_args.post_mix$offset(), "postMix", before.postMix(), FP32, "[T, n]", tokens,
              n);
          call.put(mhc_boundary_backward_args.res_mix$offset(), "resMix", before.resMix(), FP32, "[T, n, n]", tokens,
              n, n);
          call.put(mhc_boundary_backward_args.d_post_mix$offset(), "dPostMix", made.postMix(), FP32, "[T, n]", tokens,
              n);
          call.put(mhc_boundary_backward_args.d_res_mix$offset(), "dResMix", made.resMix(), FP32, "[T, n, n]", tokens,
              n, n);
          call.put(mhc_boundary_backward_args.d_shifted_pre_mix$offset(), "dPreMix",
              config.shifted() ? made.preMix() : null, FP32 | Types.OPTIONAL, "[T, n]", tokens, n);
        }
      } else if (call.changed(BEFORE, NOTHING)) {
        call.clear(mhc_boundary_backward_args.f$offset());
        call.clear(mhc_boundary_backward_args.f_scale$offset());
        call.clear(mhc_boundary_backward_args.post_mix$offset());
        call.clear(mhc_boundary_backward_args.res_mix$offset());
        call.clear(mhc_boundary_backward_args.d_f$offset());
        call.clear(mhc_boundary_backward_args.d_post_mix$offset());
        call.clear(mhc_boundary_backward_args.d_res_mix$offset());
        call.clear(mhc_boundary_backward_args.d_shifted_pre_mix$offset());
      }
      Tensor shifted = null;
      if (config.shifted()) {
        shifted = before != null ? before.preMix() : shiftedPreMix != null ? shiftedPreMix : buffers.firstStream(tokens);
      }
      call.put(mhc_boundary_backward_args.shifted_pre_mix$offset(), "preMix", shifted, FP32 | Types.OPTIONAL, "[T, n]",
          tokens, n);
      call.put(mhc_boundary_backward_args.d_h$offset(), previous == null ? "dH" : "dHNext", dH, layer, "[T, C]", tokens,
          c);
      call.put(mhc_boundary_backward_args.norm_weight$offset(), "normWeight", normWeight, FP32 | Types.OPTIONAL, "[C]",
          c);
      call.put(mhc_boundary_backward_args.norm_eps$offset(), normEps);
      call.put(mhc_boundary_backward_args.d_norm_weight$offset(), "dNormWeight", dNormWeight,
          FP32 | Types.OUT | Types.OPTIONAL, "[C]", c);
      call.put(mhc_boundary_backward_args.d_x_next$offset(), previous == null ? "dXLater" : "dXNext", dXLater,
          x.type | Types.OPTIONAL, "[T, n, C]", tokens, n, c);
      call.put(mhc_boundary_backward_args.d_x$offset(), "dX", dX, x.type | Types.OUT, "[T, n, C]", tokens, n, c);
      Coefficients given = buffers.gradientsGiven();
      call.put(mhc_boundary_backward_args.d_pre_mix_next$offset(), "dPreMix",
          config.shifted() && buffers.hasPreGradient() ? given.preMix() : null, FP32 | Types.OPTIONAL, "[T, n]", tokens,
          n);
      call.put(mhc_boundary_backward_args.d_post_mix_next$offset(), "dPostMix", given.postMix(), FP32, "[T, n]", tokens,
          n);
      call.put(mhc_boundary_backward_args.d_res_mix_next$offset(), "dResMix", given.resMix(), FP32, "[T, n, n]", tokens,
          n, n);
      (gradients == null ? Gradients.UNWANTED : gradients).put(call, mhc_boundary_backward_args.d_parameters$offset(),
          config, c);
      call.run(tokens);
      if (previous != null) {
        previous.buffers.gradientsComputed(config.shifted());
      }
    } finally {
      call.end();
    }
  }

  private void putSaved(Call call, Coefficients held, long mixOffset, long invRmsOffset) {
    long tokens = held.preMix().shape[0];
    int types = config.isDynamic() ? FP32 : FP32 | Types.OPTIONAL;
    call.put(mixOffset, "mix", held.mix(), types, "[T, m]", tokens, config.mixCount());
    call.put(invRmsOffset, "invRms", held.invRms(), types, "[T]", tokens);
  }

  // ------------------------------------------------------------------------------------------------ lifetime

  /** What this layer holds, for operations on several layers. Call with the device locked. */
  CoefficientBuffers buffers() {
    return buffers;
  }

  /** Whether this layer, or its device, was closed. */
  public boolean isClosed() {
    return buffers.isClosed();
  }

  /** Frees the coefficient buffers. The parameters stay. Does nothing when closed. */
  @Override
  public void close() {
    buffers.close();
  }

  @Override
  public String toString() {
    return "HyperConnection[" + config.mode() + ", " + config.streams() + " streams, on " + device.name() + "]"
        + (isClosed() ? " (closed)" : "");
  }
}
