// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.DoubleUnaryOperator;

/**
 * A dense matrix {@code (I - 2 u u^T) D (I - 2 v v^T)} with a diagonal D: its singular vectors and values are known without a
 * decomposition, and so is what a polynomial makes of them.
 */
public final class Reflected {
  private final double[] u;
  private final double[] v;
  private final double[] diagonal; // as many values as the shorter side has
  private final double[] uD; // of each column
  private final double[] dV; // of each row
  private final double uDv;

  /** With values of either sign between 0.5 and 1.5. */
  public Reflected(int rows, int columns, SplittableRandom random) {
    this(unit(rows, random), unit(columns, random), random.doubles(Math.min(rows, columns), -1, 1)
        .map(value -> value + Math.copySign(0.5, value)).toArray());
  }

  private Reflected(double[] u, double[] v, double[] diagonal) {
    this.u = u;
    this.v = v;
    this.diagonal = diagonal;
    uD = new double[v.length];
    dV = new double[u.length];
    for (int i = 0; i < diagonal.length; i++) {
      uD[i] = u[i] * diagonal[i];
      dV[i] = diagonal[i] * v[i];
    }
    uDv = Check.dot(uD, v);
  }

  private static double[] unit(int size, SplittableRandom random) {
    double[] values = random.doubles(size, -1, 1).toArray();
    double norm = Math.sqrt(Check.dot(values, values));
    return Arrays.stream(values).map(value -> value / norm).toArray();
  }

  /** The same singular vectors with other values. */
  public Reflected with(DoubleUnaryOperator value) {
    return new Reflected(u, v, Arrays.stream(diagonal).map(value).toArray());
  }

  /** Frobenius's. */
  public double norm() {
    return Math.sqrt(Check.dot(diagonal, diagonal));
  }

  /** A row. */
  public double[] row(int row) {
    var values = new double[v.length];
    for (int column = 0; column < values.length; column++) {
      values[column] = 4 * u[row] * uDv * v[column] - 2 * u[row] * uD[column] - 2 * dV[row] * v[column];
    }
    if (row < diagonal.length) {
      values[row] += diagonal[row];
    }
    return values;
  }
}
