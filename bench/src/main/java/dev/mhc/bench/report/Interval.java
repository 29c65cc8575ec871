// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.Arrays;
import org.apache.commons.math3.distribution.TDistribution;

/**
 * An estimate of the logarithm of a time, so that intervals of ratios are differences. The forks of a benchmark are its
 * independent samples: iterations of one process share where its memory lies and what its compiler did.
 *
 * @param logMean the mean of the logarithms
 * @param variance of that mean
 * @param degrees of freedom; 0 where one fork cannot say how much forks differ
 */
public record Interval(double logMean, double variance, double degrees) {
  /** How sure an interval is: one of a hundred is wrong. */
  private static final double CONFIDENCE = 0.99;

  /** Of the times of each fork's iterations. */
  public static Interval ofForks(double[]... seconds) {
    double[] forks = Arrays.stream(seconds)
        .mapToDouble(fork -> Math.log(Arrays.stream(fork).average().orElseThrow())).toArray();
    double mean = Arrays.stream(forks).average().orElseThrow();
    if (forks.length == 1) {
      return new Interval(mean, 0, 0);
    }
    double squares = Arrays.stream(forks).map(v -> (v - mean) * (v - mean)).sum();
    return new Interval(mean, squares / (forks.length - 1) / forks.length, forks.length - 1);
  }

  /** How this relates to another: Welch's interval of the logarithm of the ratio. */
  public Interval over(Interval other) {
    double sum = variance + other.variance;
    double degreesOfBoth = degrees == 0 || other.degrees == 0 ? 0
        : sum == 0 ? degrees + other.degrees
            : sum * sum / (variance * variance / degrees + other.variance * other.variance / other.degrees);
    return new Interval(logMean - other.logMean, sum, degreesOfBoth);
  }

  /** Of so many times as much. */
  public Interval times(double factor) {
    return new Interval(logMean + Math.log(factor), variance, degrees);
  }

  /** The value. */
  public double value() {
    return Math.exp(logMean);
  }

  /** The lower end. */
  public double low() {
    return Math.exp(logMean - half());
  }

  /** The upper end. */
  public double high() {
    return Math.exp(logMean + half());
  }

  private double half() {
    if (degrees == 0) {
      return Double.POSITIVE_INFINITY;
    }
    return new TDistribution(degrees).inverseCumulativeProbability((1 + CONFIDENCE) / 2) * Math.sqrt(variance);
  }
}
