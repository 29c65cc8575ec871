// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.function.IntToDoubleFunction;

/** Matrix products in double precision, as plainly as they can be written, and what float32 may differ from them. */
final class Products {
  private Products() {}

  /** A matrix in double precision: entries by row and column. */
  interface Matrix {
    double at(int row, int column);

    default Matrix transposed() {
      return (row, column) -> at(column, row);
    }
  }

  static Matrix of(Tensor tensor, int... batch) {
    double[] values = tensor.toDoubles();
    int columns = (int) tensor.dim(tensor.rank() - 1);
    int rows = (int) tensor.dim(tensor.rank() - 2);
    int start = batch.length == 0 ? 0 : batch[0] * rows * columns;
    return (row, column) -> values[start + row * columns + column];
  }

  static double dot(Matrix a, Matrix b, int row, int column, int k) {
    double sum = 0;
    for (int i = 0; i < k; i++) {
      sum += a.at(row, i) * b.at(i, column);
    }
    return sum;
  }

  /** What sums of k products in float32, in any order, can be off by; slack: further roundings of each product. */
  static double bound(Matrix a, Matrix b, int row, int column, int k, int slack) {
    double sum = 0;
    for (int i = 0; i < k; i++) {
      sum += Math.abs(a.at(row, i) * b.at(i, column));
    }
    return (k + slack) * 0x1p-24 * sum;
  }

  /** Half the distance between neighbours, relative to the lower one. */
  static double rounding(DType type) {
    return switch (type) {
      case BF16 -> 0x1p-8;
      case FP16 -> 0x1p-11;
      default -> 0x1p-24;
    };
  }

  static double gelu(double x) {
    return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  }

  static void assertClose(double actual, double expected, double tolerance, String what) {
    assertThat(Math.abs(actual - expected)).as("%s: %s, expected %s", what, actual, expected).isLessThanOrEqualTo(tolerance);
  }

  static IntToDoubleFunction vector(Tensor tensor) {
    double[] values = tensor.toDoubles();
    return i -> values[i];
  }
}
