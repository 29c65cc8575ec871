// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_parameters;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.DoubleStream;
import org.jspecify.annotations.Nullable;

/**
 * What one layer has learned, all {@link DType#FP32}. Rows of the projection, and the bias, are ordered pre, post, res;
 * column {@code i C + c} of the projection meets channel c of stream i.
 *
 * @param projection {@code [m, n C]}; null where coefficients are static
 * @param scale {@code [3]}: alpha of pre, post and res; null where coefficients are static
 * @param bias {@code [m]}; null in the mode RESIDUAL alone
 * @param normWeight {@code [n C]}, multiplies x in the product; null where it is folded into the projection, which is
 *     faster
 */
public record Parameters(@Nullable Tensor projection, @Nullable Tensor scale, @Nullable Tensor bias,
    @Nullable Tensor normWeight) implements AutoCloseable {

  /** The gates' initial value in the paper (Table 5): coefficients start out nearly independent of x. */
  public static final float INITIAL_SCALE = 0.01f;

  /**
   * Dynamic coefficients, RMSNorm weight folded into the projection.
   *
   * @param projection {@code [m, n C]}
   * @param scale {@code [3]}
   * @param bias {@code [m]}
   */
  public static Parameters of(Tensor projection, Tensor scale, Tensor bias) {
    return new Parameters(projection, scale, bias, null);
  }

  /** Static coefficients. */
  public static Parameters ofStatic(Tensor bias) {
    return new Parameters(null, null, bias, null);
  }

  /** No parameters, for the mode RESIDUAL. */
  public static Parameters none() {
    return new Parameters(null, null, null, null);
  }

  /**
   * New parameters to start training from: scale {@value #INITIAL_SCALE} as in the paper; bias 0, which makes
   * preMix 1/2, postMix 1 and resMix 1/n; projection of independent normal values with variance 1 / (n C), so that mix
   * has variance 1.
   *
   * @param device where they are made
   * @param config what they are for
   * @param width C
   * @param seed of the projection: the same seed gives the same values
   */
  public static Parameters initialize(Device device, HyperConnectionConfig config, long width, long seed) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "a HyperConnectionConfig");
    Check.range("width", width, 1, Long.MAX_VALUE);
    if (config.mode() == HyperConnectionConfig.Mode.RESIDUAL) {
      return none();
    }
    Check.size("the shape of the projection", config.mixCount(), config.streams(), width);
    return Device.whole(() -> initial(device, config, config.streams() * width, seed));
  }

  private static Parameters initial(Device device, HyperConnectionConfig config, long columns, long seed) {
    int m = config.mixCount();
    Tensor bias = device.tensor(DType.FP32, m);
    if (!config.isDynamic()) {
      return ofStatic(bias);
    }
    Tensor projection = device.tensor(DType.FP32, m, columns);
    RandomGenerator random = new SplittableRandom(seed);
    double deviation = 1 / Math.sqrt(columns);
    for (long row = 0; row < m; row++) {
      projection.slice(0, row, row + 1).copyFrom(
          DoubleStream.generate(() -> random.nextGaussian() * deviation).limit(columns).toArray());
    }
    return of(projection, device.tensor(DType.FP32, 3).fill(INITIAL_SCALE), bias);
  }

  /** Closes the tensors. */
  @Override
  public void close() {
    closeAll(projection, scale, bias, normWeight);
  }

  static void closeAll(@Nullable Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (tensor != null) {
        tensor.close();
      }
    }
  }

  /** As {@link #put}, where a slot of the call tells whether they are written already. */
  void putOnce(Call call, int slot, long base, HyperConnectionConfig config, long width) {
    if (call.changed(slot, this)) {
      put(call, base, config, width);
    } else {
      call.use("projection", projection);
      call.use("scale", scale);
      call.use("bias", bias);
      call.use("normWeight", normWeight);
    }
  }

  /** Checks and writes an {@code mhc_parameters} at an offset of a call's block. */
  void put(Call call, long base, HyperConnectionConfig config, long width) {
    long columns = width < 0 ? -1 : config.streams() * width;
    int m = config.mixCount();
    if (config.isDynamic()) {
      call.put(base + mhc_parameters.projection$offset(), "projection", projection, Types.FP32, "[m, n C]", m, columns);
      call.put(base + mhc_parameters.scale$offset(), "scale", scale, Types.FP32, "[3]", 3);
      call.put(base + mhc_parameters.norm_weight$offset(), "normWeight", normWeight, Types.FP32 | Types.OPTIONAL,
          "[n C]", columns);
    }
    if (m > 0) {
      call.put(base + mhc_parameters.bias$offset(), "bias", bias, Types.FP32, "[m]", m);
    }
  }
}
