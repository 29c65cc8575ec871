// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * What a layer function gave, in a type of its own or in FP8. Of FP8 a step uses the products with their tiles' scales, in
 * float32, as {@link Fp8#dequantize} gives them; the gradient of f is one with respect to these products, and no FP8: it has
 * the type of the other layer tensors. F's output then counts a byte an element in what a step reads.
 *
 * @param f {@code [T, C]}, of a layer tensor's type, or {@link DType#FP8_E4M3} in tiles of 1 x 128
 * @param scale {@code [T, ceil(C / 128)]} {@link DType#FP32} or {@link DType#E8M0}, with any strides; with FP8, null
 *     otherwise
 */
public record LayerOutput(Tensor f, @Nullable Tensor scale) {

  /** Checks what does not depend on the call. */
  public LayerOutput {
    Check.given("f", f, "a tensor [T, C]");
    boolean fp8 = f.type == Types.FP8_E4M3;
    if (fp8 != (scale != null)) {
      throw new IllegalArgumentException(fp8 ? "scale is null; expected a tensor [T, ceil(C / 128)], because f is FP8_E4M3"
          : "scale is given; expected null, because f is " + f.dtype() + ", not FP8_E4M3");
    }
  }

  /** F's output as it is, not in FP8. */
  public static LayerOutput of(Tensor f) {
    return new LayerOutput(f, null);
  }

  /**
   * F's output in FP8.
   *
   * @param f as above
   * @param scale as above
   */
  public static LayerOutput fp8(Tensor f, Tensor scale) {
    return new LayerOutput(f, scale);
  }

  /** The types that f may have: a layer tensor's beside x, or FP8 where there is a scale. */
  static int types(Tensor x, @Nullable Tensor scale) {
    return scale == null ? Types.layer(x) : Types.FP8_E4M3;
  }

  /** The types of other layer tensors beside this f. */
  static int layer(Tensor x, Tensor f) {
    return f.type == Types.FP8_E4M3 ? Types.layer(x) : f.type;
  }

  /** Puts scale, or clears its place. */
  static void putScale(Call call, long offset, String name, @Nullable Tensor scale, long tokens, long width) {
    call.put(offset, name, scale, Types.SCALE | Types.OPTIONAL | Types.ANY_STRIDES, "[T, ceil(C / 128)]", tokens,
        (width + 127) / 128);
  }
}
