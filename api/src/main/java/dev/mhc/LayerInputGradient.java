// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * The gradient that a layer function hands back for its input, where a {@link LayerInput} had a norm.
 *
 * @param dInput {@code [T, C]}: of y where normWeight is given, else of h
 * @param normWeight as in the forward
 * @param normEps as in the forward
 * @param dNormWeight {@code [C]} {@link DType#FP32}, gradient of normWeight; null: not wanted
 */
public record LayerInputGradient(Tensor dInput, @Nullable Tensor normWeight, float normEps,
    @Nullable Tensor dNormWeight) {

  /** Checks what does not depend on the call. */
  public LayerInputGradient {
    Check.given("dInput", dInput, "a tensor [T, C]");
    Check.notNegative("normEps", normEps);
    if (dNormWeight != null && normWeight == null) {
      throw new IllegalArgumentException("normWeight is null; expected a tensor [C], because dNormWeight is given");
    }
  }

  /** The gradient of h. */
  public static LayerInputGradient of(Tensor dInput) {
    return new LayerInputGradient(dInput, null, 0, null);
  }
}
