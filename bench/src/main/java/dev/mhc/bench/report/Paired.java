// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.Arrays;
import java.util.function.DoubleBinaryOperator;

/**
 * How the times of one thing relate to those of another that was measured in turns with it: the median over rounds, and
 * an interval of order statistics, which asks nothing of how times are distributed.
 *
 * @param median of the rounds
 * @param low end of the 99 % interval
 * @param high end of it
 */
public record Paired(double median, double low, double high) {
  private static final double DEVIATIONS = 2.576; // of a normal distribution, for 99 %

  /** Second minus first, in seconds. */
  public static Paired difference(double[] first, double[] second) {
    return of(first, second, (a, b) -> b - a);
  }

  /** Second over first. */
  public static Paired ratio(double[] first, double[] second) {
    return of(first, second, (a, b) -> b / a);
  }

  private static Paired of(double[] first, double[] second, DoubleBinaryOperator relation) {
    if (first.length != second.length || first.length == 0) {
      throw new IllegalArgumentException("there are " + first.length + " and " + second.length
          + " rounds; expected as many of both, and at least one");
    }
    int n = first.length;
    var each = new double[n];
    Arrays.setAll(each, i -> relation.applyAsDouble(first[i], second[i]));
    Arrays.sort(each);
    // The rank of the median of n values has the standard deviation sqrt(n) / 2.
    int away = (int) Math.ceil(DEVIATIONS * Math.sqrt(n) / 2);
    double median = n % 2 == 1 ? each[n / 2] : (each[n / 2 - 1] + each[n / 2]) / 2;
    return new Paired(median, each[Math.max(0, n / 2 - away)], each[Math.min(n - 1, n / 2 + away)]);
  }

  /** Whether the interval leaves out a value. */
  public boolean excludes(double value) {
    return value < low || value > high;
  }
}
