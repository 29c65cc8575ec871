// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * What a boundary makes for the layer function that follows it: h, and on request its RMSNorm y, and either in FP8. Make
 * it once and use it for every call with these tensors.
 *
 * {@snippet file="dev/mhc/examples/LayerInputs.java" region="norm"}
 *
 * @param h {@code [T, C]}; may be null if y or fp8 is given
 * @param normWeight {@code [C]} {@link DType#FP32}: y = h / sqrt(mean(h^2) + normEps) normWeight; null: no norm
 * @param normEps at least 0
 * @param y {@code [T, C]}, of the type of h; null: not wanted
 * @param fp8 {@code [T, C]} {@link DType#FP8_E4M3}: y, or h where there is no norm, in tiles of 1 x 128; null: not wanted
 * @param fp8Scale {@code [T, ceil(C / 128)]} {@link DType#FP32} or {@link DType#E8M0}, with any strides; with fp8
 * @param rounding of the FP8 scale
 */
public record LayerInput(@Nullable Tensor h, @Nullable Tensor normWeight, float normEps, @Nullable Tensor y,
    @Nullable Tensor fp8, @Nullable Tensor fp8Scale, Fp8.Rounding rounding) {

  /** Checks what does not depend on the call. */
  public LayerInput {
    if (h == null && y == null && fp8 == null) {
      throw new IllegalArgumentException("h, y and fp8 are null; expected at least one of them");
    }
    if (y != null && normWeight == null) {
      throw new IllegalArgumentException("normWeight is null; expected a tensor [C], because y is given");
    }
    if ((fp8 == null) != (fp8Scale == null)) {
      throw new IllegalArgumentException((fp8 == null ? "fp8" : "fp8Scale")
          + " is null; expected fp8 and fp8Scale together, or neither");
    }
    Check.notNegative("normEps", normEps);
    Check.given("rounding", rounding, "an Fp8.Rounding");
  }

  /**
   * h alone.
   *
   * @param h as above
   */
  public static LayerInput of(Tensor h) {
    return new LayerInput(h, null, 0, null, null, null, Fp8.Rounding.EXACT);
  }

  /**
   * The RMSNorm of h alone.
   *
   * @param normWeight as above
   * @param normEps as above
   * @param y {@code [T, C]}, of a layer tensor's type
   */
  public static LayerInput normalized(Tensor normWeight, float normEps, Tensor y) {
    return new LayerInput(null, normWeight, normEps, y, null, null, Fp8.Rounding.EXACT);
  }

  /**
   * h in FP8 alone.
   *
   * @param fp8 as above
   * @param fp8Scale as above
   * @param rounding as above
   */
  public static LayerInput quantized(Tensor fp8, Tensor fp8Scale, Fp8.Rounding rounding) {
    return new LayerInput(null, null, 0, null, fp8, fp8Scale, rounding);
  }

  /**
   * This, and the RMSNorm of h.
   *
   * @param normWeight as above
   * @param normEps as above
   * @param y as above; null: only in FP8
   */
  public LayerInput withNorm(Tensor normWeight, float normEps, @Nullable Tensor y) {
    return new LayerInput(h, normWeight, normEps, y, fp8, fp8Scale, rounding);
  }

  /**
   * This, and y (h without a norm) in FP8.
   *
   * @param fp8 as above
   * @param fp8Scale as above
   * @param rounding as above
   */
  public LayerInput withFp8(Tensor fp8, Tensor fp8Scale, Fp8.Rounding rounding) {
    return new LayerInput(h, normWeight, normEps, y, fp8, fp8Scale, rounding);
  }
}
