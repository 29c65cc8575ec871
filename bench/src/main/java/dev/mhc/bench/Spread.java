// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.Arrays;
import java.util.Locale;

/**
 * Times of one thing, repeated, in seconds.
 *
 * @param median of them
 * @param min the smallest
 * @param max the largest
 * @param count how many
 */
public record Spread(double median, double min, double max, int count) {
  /** Of times in nanoseconds. */
  public static Spread ofNanos(long... nanos) {
    double[] sorted = Arrays.stream(nanos).mapToDouble(n -> n * 1e-9).sorted().toArray();
    int n = sorted.length;
    double median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    return new Spread(median, sorted[0], sorted[n - 1], n);
  }

  /** Of one of so many equal parts of it. */
  public Spread over(long parts) {
    return new Spread(median / parts, min / parts, max / parts, count);
  }

  /** In milliseconds: "1.23 [1.20 .. 1.40]". */
  public String milliseconds() {
    return String.format(Locale.ROOT, "%.2f [%.2f .. %.2f]", median * 1e3, min * 1e3, max * 1e3);
  }
}
