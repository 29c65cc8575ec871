// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_parameter_gradients;
import org.jspecify.annotations.Nullable;

/**
 * Gradients of a layer's {@link Parameters}, of the same shapes, all {@link DType#FP32}. They are sums over tokens, taken
 * in an order that depends on their number alone, on a GPU also on its number of multiprocessors. Null: that gradient is not wanted.
 *
 * @param projection {@code [m, n C]}
 * @param scale {@code [3]}
 * @param bias {@code [m]}
 * @param normWeight {@code [n C]}
 */
public record Gradients(@Nullable Tensor projection, @Nullable Tensor scale, @Nullable Tensor bias,
    @Nullable Tensor normWeight) implements AutoCloseable {

  static final Gradients UNWANTED = new Gradients(null, null, null, null);

  /** New gradients, zero, of each parameter that is given. */
  public static Gradients like(Parameters parameters) {
    Check.given("parameters", parameters, "a Parameters");
    return Device.whole(() -> new Gradients(zeros(parameters.projection()), zeros(parameters.scale()), zeros(parameters.bias()),
        zeros(parameters.normWeight())));
  }

  private static @Nullable Tensor zeros(@Nullable Tensor like) {
    return like == null ? null : like.device().tensor(DType.FP32, like.shape);
  }

  /** Sets all of them to zero. */
  public void zero() {
    for (Tensor tensor : new @Nullable Tensor[] {projection, scale, bias, normWeight}) {
      if (tensor != null) {
        tensor.fill(0);
      }
    }
  }

  /** Closes the tensors. */
  @Override
  public void close() {
    Parameters.closeAll(projection, scale, bias, normWeight);
  }

  /** Checks and writes an {@code mhc_parameter_gradients} at an offset of a call's block. */
  void put(Call call, long base, HyperConnectionConfig config, long width) {
    int types = Types.FP32 | Types.OUT | Types.OPTIONAL;
    long columns = config.streams() * width;
    int m = config.mixCount();
    call.put(base + mhc_parameter_gradients.projection$offset(), "gradients.projection", projection, types, "[m, n C]",
        m, columns);
    call.put(base + mhc_parameter_gradients.scale$offset(), "gradients.scale", scale, types, "[3]", 3);
    call.put(base + mhc_parameter_gradients.bias$offset(), "gradients.bias", bias, types, "[m]", m);
    call.put(base + mhc_parameter_gradients.norm_weight$offset(), "gradients.normWeight", normWeight, types, "[n C]",
        columns);
  }
}
