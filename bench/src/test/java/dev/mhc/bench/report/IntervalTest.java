// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class IntervalTest {
  @Test
  void isStudentsOfTheForks() {
    // Logarithms 0, 0.1, 0.2: deviation 0.1, of the mean 0.1 / sqrt(3); the 99.5 % quantile of two degrees is 9.9248.
    Interval interval = Interval.ofForks(new double[] {1}, new double[] {Math.exp(0.1)}, new double[] {Math.exp(0.2)});
    assertThat(interval.value()).isCloseTo(Math.exp(0.1), within(1e-12));
    assertThat(interval.high()).isCloseTo(Math.exp(0.1 + 9.9248 * 0.1 / Math.sqrt(3)), within(1e-4));
    assertThat(interval.low()).isCloseTo(Math.exp(0.1 - 9.9248 * 0.1 / Math.sqrt(3)), within(1e-4));
  }

  @Test
  void ofOneForkSaysNothing() {
    Interval interval = Interval.ofForks(new double[] {1, 1, 1});
    assertThat(interval.high()).isInfinite();
    assertThat(interval.over(Interval.ofForks(new double[] {1}, new double[] {1})).high()).isInfinite();
  }

  @Test
  void ofARatioHoldsTheTruthAsOftenAsItSays() {
    var random = new SplittableRandom(7);
    int trials = 2000;
    int held = 0;
    for (int trial = 0; trial < trials; trial++) {
      Interval ratio = Interval.ofForks(forks(random, 1.5)).over(Interval.ofForks(forks(random, 1)));
      held += ratio.low() <= 1.5 && 1.5 <= ratio.high() ? 1 : 0;
    }
    assertThat(held / (double) trials).isBetween(0.98, 1.0);
  }

  private static double[][] forks(SplittableRandom random, double mean) {
    var forks = new double[4][1];
    for (double[] fork : forks) {
      fork[0] = mean * Math.exp(0.05 * random.nextGaussian());
    }
    return forks;
  }

  @Test
  void pairsCancelWhatMeetsBoth() {
    var random = new SplittableRandom(3);
    var first = new double[301];
    var second = new double[301];
    for (int i = 0; i < first.length; i++) {
      double load = 1 + 5 * random.nextDouble();
      first[i] = load * (1 + 0.01 * random.nextGaussian());
      second[i] = 1.05 * load * (1 + 0.01 * random.nextGaussian());
    }
    Paired ratio = Paired.ratio(first, second);
    assertThat(ratio.median()).isCloseTo(1.05, within(0.005));
    assertThat(ratio.excludes(1)).isTrue();
    assertThat(ratio.excludes(1.05)).isFalse();
    assertThat(Paired.difference(first, first).excludes(0)).isFalse();
    assertThatThrownBy(() -> Paired.ratio(first, new double[2])).hasMessageContaining("301 and 2 rounds");
  }
}
