// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_coefficient_set;
import org.jspecify.annotations.Nullable;

/**
 * The coefficients of one layer for T tokens, all {@link DType#FP32}.
 *
 * @param preMix {@code [T, n]}: what each stream counts in the layer's input
 * @param postMix {@code [T, n]}: what the layer's output counts in each stream
 * @param resMix {@code [T, n, n]}: how the streams mix, stored as {@link HyperConnectionConfig#orientation()} says
 * @param mix {@code [T, m]}: x projection^T / r, before scale and bias; the backward wants it, static coefficients have
 *     none
 * @param invRms {@code [T]}: 1/r; likewise
 */
public record Coefficients(Tensor preMix, Tensor postMix, Tensor resMix, @Nullable Tensor mix,
    @Nullable Tensor invRms) implements AutoCloseable {

  /** Checks that the tensors without which no operation works are there. */
  public Coefficients {
    Check.given("preMix", preMix, "a tensor [T, n]");
    Check.given("postMix", postMix, "a tensor [T, n]");
    Check.given("resMix", resMix, "a tensor [T, n, n]");
  }

  /**
   * New coefficients, zero, with mix and invRms where the config is dynamic.
   *
   * @param device that they belong to
   * @param config whose streams and mode say their shapes
   * @param tokens T, at least 0
   */
  public static Coefficients allocate(Device device, HyperConnectionConfig config, long tokens) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "a HyperConnectionConfig");
    Check.range("tokens", tokens, 0, Long.MAX_VALUE);
    int n = config.streams();
    return Device.whole(() -> new Coefficients(device.tensor(DType.FP32, tokens, n), device.tensor(DType.FP32, tokens, n),
        device.tensor(DType.FP32, tokens, n, n),
        config.isDynamic() ? device.tensor(DType.FP32, tokens, config.mixCount()) : null,
        config.isDynamic() ? device.tensor(DType.FP32, tokens) : null));
  }

  /** T. */
  public long tokens() {
    return preMix.dim(0);
  }

  /** Closes the tensors. */
  @Override
  public void close() {
    Parameters.closeAll(preMix, postMix, resMix, mix, invRms);
  }

  /** Checks and writes an {@code mhc_coefficient_set} at an offset of a call's block. */
  void put(Call call, long base, HyperConnectionConfig config, long tokens) {
    int n = config.streams();
    int types = Types.FP32 | Types.OUT;
    call.put(base + mhc_coefficient_set.pre_mix$offset(), "preMix", preMix, types, "[T, n]", tokens, n);
    call.put(base + mhc_coefficient_set.post_mix$offset(), "postMix", postMix, types, "[T, n]", tokens, n);
    call.put(base + mhc_coefficient_set.res_mix$offset(), "resMix", resMix, types, "[T, n, n]", tokens, n, n);
    call.put(base + mhc_coefficient_set.mix$offset(), "mix", mix, types | Types.OPTIONAL, "[T, m]", tokens,
        config.mixCount());
    call.put(base + mhc_coefficient_set.inv_rms$offset(), "invRms", invRms, types | Types.OPTIONAL, "[T]", tokens);
  }
}
