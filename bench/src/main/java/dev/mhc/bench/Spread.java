// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.Arrays;
import java.util.Locale;

/**
 * Times of one thing, repeated, in seconds.
 *
 * @param seconds in the order in which they were taken
 */
public record Spread(double... seconds) {
  /** Of times in nanoseconds. */
  public static Spread ofNanos(long... nanos) {
    return new Spread(Arrays.stream(nanos).mapToDouble(n -> n * 1e-9).toArray());
  }

  /** The middle one. */
  public double median() {
    double[] sorted = seconds.clone();
    Arrays.sort(sorted);
    int n = sorted.length;
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }

  /** The smallest. */
  public double min() {
    return Arrays.stream(seconds).min().orElseThrow();
  }

  /** The largest. */
  public double max() {
    return Arrays.stream(seconds).max().orElseThrow();
  }

  /** How many. */
  public int count() {
    return seconds.length;
  }

  /** Of one of so many equal parts of it. */
  public Spread over(long parts) {
    return new Spread(Arrays.stream(seconds).map(s -> s / parts).toArray());
  }

  /** In milliseconds: "1.23 [1.20 .. 1.40]". */
  public String milliseconds() {
    return String.format(Locale.ROOT, "%.2f [%.2f .. %.2f]", median() * 1e3, min() * 1e3, max() * 1e3);
  }
}
