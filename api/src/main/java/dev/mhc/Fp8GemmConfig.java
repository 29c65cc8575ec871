// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * A product of FP8 matrices, row-major: {@code D = activation((scaleA A) (scaleB B)^T + bias)}: a layer's output from
 * activations A and weights B, both with k contiguous.
 *
 * @param m rows of A and D, 0 to 2^31 - 1
 * @param n rows of B, columns of D, likewise
 * @param k columns of A and B, likewise
 * @param aScaling which elements of A share a scale
 * @param bScaling which elements of B share a scale
 * @param dType type of D and of the bias: {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}
 * @param bias whether a bias {@code [n]} is added to each row
 * @param activation what is applied last
 */
public record Fp8GemmConfig(long m, long n, long k, Scaling aScaling, Scaling bScaling, DType dType, boolean bias,
    Activation activation) {

  /** Which elements share a scale. */
  public enum Scaling {
    /** All: one scale, {@code [1]}. */
    TENSOR,
    /** 1 x 128: {@code [rows, ceil(k / 128)]}. */
    ROW_TILE,
    /** 128 x 128: {@code [ceil(rows / 128), ceil(k / 128)]}. */
    SQUARE_TILE;

    /** The shape of the scales of a matrix of so many rows and columns, each at least 0. */
    public long[] scaleShape(long rows, long columns) {
      Check.range("rows", rows, 0, Long.MAX_VALUE);
      Check.range("columns", columns, 0, Long.MAX_VALUE);
      return switch (this) {
        case TENSOR -> new long[] {1};
        case ROW_TILE -> Fp8.scaleShape(Fp8.Tile.ROW, rows, columns);
        case SQUARE_TILE -> Fp8.scaleShape(Fp8.Tile.SQUARE, rows, columns);
      };
    }
  }

  /** Checks the values. */
  public Fp8GemmConfig {
    Check.range("m", m, 0, Integer.MAX_VALUE);
    Check.range("n", n, 0, Integer.MAX_VALUE);
    Check.range("k", k, 0, Integer.MAX_VALUE);
    Check.given("aScaling", aScaling, "a Scaling");
    Check.given("bScaling", bScaling, "a Scaling");
    if (aScaling == Scaling.SQUARE_TILE) {
      throw new IllegalArgumentException("aScaling is SQUARE_TILE; expected TENSOR or ROW_TILE, for activations");
    }
    if ((aScaling == Scaling.TENSOR) != (bScaling == Scaling.TENSOR)) {
      throw new IllegalArgumentException("bScaling is " + bScaling + "; expected "
          + (aScaling == Scaling.TENSOR ? "TENSOR, as A has" : "ROW_TILE or SQUARE_TILE, for an A with ROW_TILE"));
    }
    Check.given("activation", activation, "an Activation");
    if (!Check.given("dType", dType, "a DType").isRow()) {
      throw new IllegalArgumentException("dType is " + dType + "; expected " + Types.names(Types.ROW));
    }
    Check.size("the shape of A", m, k);
    Check.size("the shape of B", n, k);
    Check.size("the shape of D", m, n);
  }

  /** DeepSeek-V3's product: 1 x 128 scales for activations, 128 x 128 for weights. */
  public static Fp8GemmConfig tiled(long m, long n, long k, DType dType) {
    return new Fp8GemmConfig(m, n, k, Scaling.ROW_TILE, Scaling.SQUARE_TILE, dType, false, Activation.NONE);
  }

  /** One scale for each matrix. */
  public static Fp8GemmConfig scaled(long m, long n, long k, DType dType) {
    return new Fp8GemmConfig(m, n, k, Scaling.TENSOR, Scaling.TENSOR, dType, false, Activation.NONE);
  }

  /** This product with or without a bias, and with an activation. */
  public Fp8GemmConfig withEpilogue(boolean bias, Activation activation) {
    return new Fp8GemmConfig(m, n, k, aScaling, bScaling, dType, bias, activation);
  }
}
