// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What a {@link Gemm} applies to each element of its result. */
public enum Activation {
  /** Nothing. */
  NONE,
  /** {@code max(x, 0)}; NaN stays. */
  RELU,
  /** {@code x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))}, the tanh form that cuBLASLt has. */
  GELU;

  private static final double SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

  float of(float x) {
    return switch (this) {
      case NONE -> x;
      case RELU -> Math.max(x, 0f);
      case GELU -> (float) (0.5 * x * (1 + Math.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))));
    };
  }
}
