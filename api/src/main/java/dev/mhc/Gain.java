// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.HyperConnectionConfig.Orientation;
import dev.mhc.bindings.generated.mhc_gain_args;
import org.jspecify.annotations.Nullable;

/**
 * The Amax gain magnitude (arXiv 2512.24880, section 3) of each layer's H_res, and of the running product of the layers
 * up to it, for each token. Near 1, a stack is stable in depth. All {@code [L, T]} {@link DType#FP32}; null: not wanted.
 *
 * @param forward largest |row sum|: how much a signal can grow
 * @param backward largest |column sum|: how much a gradient can grow
 * @param contraction spectral norm on the vectors of mean 0: how fast the streams grow alike; 0 for one stream
 * @param compositeForward of the product H_l ... H_0
 * @param compositeBackward of the product
 * @param compositeContraction of the product
 */
public record Gain(@Nullable Tensor forward, @Nullable Tensor backward, @Nullable Tensor contraction,
    @Nullable Tensor compositeForward, @Nullable Tensor compositeBackward, @Nullable Tensor compositeContraction)
    implements AutoCloseable {

  /**
   * Room for every one of them.
   *
   * @param device that it belongs to
   * @param layers L, at least 1
   * @param tokens T, at least 0
   */
  public static Gain allocate(Device device, long layers, long tokens) {
    Check.given("device", device, "a Device");
    Check.range("layers", layers, 1, Long.MAX_VALUE);
    Check.range("tokens", tokens, 0, Long.MAX_VALUE);
    return Device.whole(() -> new Gain(device.tensor(DType.FP32, layers, tokens), device.tensor(DType.FP32, layers, tokens),
        device.tensor(DType.FP32, layers, tokens), device.tensor(DType.FP32, layers, tokens),
        device.tensor(DType.FP32, layers, tokens), device.tensor(DType.FP32, layers, tokens)));
  }

  /**
   * Writes the gains. Thread-safe; allocates nothing.
   *
   * @param orientation how resMix stores H_res
   * @param resMix {@code [L, T, n, n]} {@link DType#FP32}, L at least 1, n at most 16
   * @param out what to write
   */
  public static void measure(Orientation orientation, Tensor resMix, Gain out) {
    Check.given("orientation", orientation, "an Orientation");
    Check.given("out", out, "a Gain");
    Call call = Operations.begin(Operation.GAIN, "resMix", resMix);
    try {
      call.put(mhc_gain_args.orientation$offset(), orientation.ordinal());
      call.put(mhc_gain_args.res_mix$offset(), "resMix", resMix, Types.FP32, "[L, T, n, n]", -1, -1, -1, -1);
      long l = resMix.shape[0];
      long t = resMix.shape[1];
      long n = resMix.shape[2];
      call.put(mhc_gain_args.res_mix$offset(), "resMix", resMix, Types.FP32, "[L, T, n, n]", l, t, n, n);
      int types = Types.FP32 | Types.OUT | Types.OPTIONAL;
      call.put(mhc_gain_args.forward$offset(), "forward", out.forward, types, "[L, T]", l, t);
      call.put(mhc_gain_args.backward$offset(), "backward", out.backward, types, "[L, T]", l, t);
      call.put(mhc_gain_args.contraction$offset(), "contraction", out.contraction, types, "[L, T]", l, t);
      call.put(mhc_gain_args.composite_forward$offset(), "compositeForward", out.compositeForward, types, "[L, T]", l,
          t);
      call.put(mhc_gain_args.composite_backward$offset(), "compositeBackward", out.compositeBackward, types, "[L, T]",
          l, t);
      call.put(mhc_gain_args.composite_contraction$offset(), "compositeContraction", out.compositeContraction, types,
          "[L, T]", l, t);
      call.run(t);
    } finally {
      call.end();
    }
  }

  /** Closes the tensors. */
  @Override
  public void close() {
    Parameters.closeAll(forward, backward, contraction, compositeForward, compositeBackward, compositeContraction);
  }
}
