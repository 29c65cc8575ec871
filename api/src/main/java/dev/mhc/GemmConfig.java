// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * A matrix product, row-major: {@code D = activation(alpha op(A) op(B) + beta D + bias)}, with {@code op(X)} X or its
 * transpose.
 *
 * @param m rows of op(A) and D, 0 to 2^31 - 1
 * @param n columns of op(B) and D, likewise
 * @param k columns of op(A), rows of op(B), likewise
 * @param batch how many such products, a stride apart: A, B and D then have this first dimension; 0: of matrices
 * @param transposeA A is stored {@code [k, m]}
 * @param transposeB B is stored {@code [n, k]}
 * @param aType type of A: {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}
 * @param bType type of B, the same as A's
 * @param dType type of D and of the bias, the same as A's or FP32
 * @param alpha factor of the product
 * @param beta factor of what D was; 0: D is not read
 * @param bias whether a bias {@code [n]} is added to each row
 * @param activation what is applied last
 * @param precision how FP32 operands are multiplied
 */
public record GemmConfig(long m, long n, long k, long batch, boolean transposeA, boolean transposeB, DType aType,
    DType bType, DType dType, float alpha, float beta, boolean bias, Activation activation, Precision precision) {

  /** How FP32 operands are multiplied. Others are multiplied exactly; all are summed in FP32. */
  public enum Precision {
    /** As they are. */
    FP32,
    /** Rounded to TF32 where the device gains from it; a CPU does not, and takes them as they are. */
    TF32
  }

  /** Checks the values. */
  public GemmConfig {
    Check.range("m", m, 0, Integer.MAX_VALUE);
    Check.range("n", n, 0, Integer.MAX_VALUE);
    Check.range("k", k, 0, Integer.MAX_VALUE);
    Check.range("batch", batch, 0, Integer.MAX_VALUE);
    Check.given("activation", activation, "an Activation");
    Check.given("precision", precision, "a Precision");
    if (!Check.given("aType", aType, "a DType").isRow()) {
      throw new IllegalArgumentException("aType is " + aType + "; expected " + Types.names(Types.ROW));
    }
    if (bType != aType) {
      throw new IllegalArgumentException("bType is " + bType + "; expected that of A, " + aType);
    }
    if (dType != aType && dType != DType.FP32) {
      throw new IllegalArgumentException("dType is " + dType + "; expected that of A, " + aType + ", or FP32");
    }
    Check.finite("alpha", alpha);
    Check.finite("beta", beta);
    Check.size("the shape of A", shape(batch, m, k));
    Check.size("the shape of B", shape(batch, k, n));
    Check.size("the shape of D", shape(batch, m, n));
  }

  /** {@code D = A B}, everything of one type. */
  public static GemmConfig of(DType type, long m, long n, long k) {
    return new GemmConfig(m, n, k, 0, false, false, type, type, type, 1, 0, false, Activation.NONE, Precision.FP32);
  }

  /** This product for a batch of matrices. */
  public GemmConfig withBatch(long batch) {
    return new GemmConfig(m, n, k, batch, transposeA, transposeB, aType, bType, dType, alpha, beta, bias, activation,
        precision);
  }

  /** This product with A, B or both stored transposed. */
  public GemmConfig withTransposed(boolean a, boolean b) {
    return new GemmConfig(m, n, k, batch, a, b, aType, bType, dType, alpha, beta, bias, activation, precision);
  }

  /** This product with a D of another type. */
  public GemmConfig withResult(DType type) {
    return new GemmConfig(m, n, k, batch, transposeA, transposeB, aType, bType, type, alpha, beta, bias, activation,
        precision);
  }

  /** This product with other factors. */
  public GemmConfig withFactors(float alpha, float beta) {
    return new GemmConfig(m, n, k, batch, transposeA, transposeB, aType, bType, dType, alpha, beta, bias, activation,
        precision);
  }

  /** This product with or without a bias, and with an activation. */
  public GemmConfig withEpilogue(boolean bias, Activation activation) {
    return new GemmConfig(m, n, k, batch, transposeA, transposeB, aType, bType, dType, alpha, beta, bias, activation,
        precision);
  }

  /** This product in another precision. */
  public GemmConfig withPrecision(Precision precision) {
    return new GemmConfig(m, n, k, batch, transposeA, transposeB, aType, bType, dType, alpha, beta, bias, activation,
        precision);
  }

  /** This product over another k. */
  GemmConfig withInner(long inner) {
    return new GemmConfig(m, n, inner, batch, transposeA, transposeB, aType, bType, dType, alpha, beta, bias, activation,
        precision);
  }

  /** A as it is stored. */
  long[] aShape() {
    return shape(batch, transposeA ? k : m, transposeA ? m : k);
  }

  /** B as it is stored. */
  long[] bShape() {
    return shape(batch, transposeB ? n : k, transposeB ? k : n);
  }

  long[] dShape() {
    return shape(batch, m, n);
  }

  private static long[] shape(long batch, long rows, long columns) {
    return batch == 0 ? new long[] {rows, columns} : new long[] {batch, rows, columns};
  }
}
