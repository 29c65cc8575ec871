// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bench.report.Compare.Verdict;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A planted regression is told from noise, and from a slower machine. */
class CompareTest {
  private static final int TRIALS = 200;

  private static Verdict boundary(List<Compare.Line> lines) {
    return lines.stream().filter(line -> line.key().startsWith(Samples.BOUNDARY)).findFirst().orElseThrow().verdict();
  }

  @Test
  void aPlantedRegressionIsFlagged() {
    int flagged = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
      List<Compare.Line> lines = Compare.of(Samples.results(2L * trial, 1, 1), Samples.results(2L * trial + 1, 1, 1.25));
      flagged += boundary(lines) == Verdict.SLOWER ? 1 : 0;
    }
    assertThat(flagged).isGreaterThan(TRIALS * 9 / 10);
  }

  @Test
  void anImprovementIsNoRegression() {
    List<Compare.Line> lines = Compare.of(Samples.results(1, 1, 1), Samples.results(2, 1, 0.7));
    assertThat(boundary(lines)).isEqualTo(Verdict.FASTER);
    assertThat(Compare.isWorse(lines)).isFalse();
  }

  @Test
  void noiseIsNotFlaggedNorIsASlowerMachine() {
    for (double machine : new double[] {1, 1.8}) {
      long flagged = 0;
      long compared = 0;
      for (int trial = 0; trial < TRIALS; trial++) {
        List<Compare.Line> lines = Compare.of(Samples.results(2L * trial, 1, 1),
            Samples.results(2L * trial + 1, machine, 1));
        flagged += lines.stream().filter(line -> line.verdict() != Verdict.SAME).count();
        compared += lines.size();
      }
      assertThat(flagged).as("of %d, on a machine %s times as slow", compared, machine).isLessThan(compared / 100);
    }
  }

  @Test
  void whatIsMissingIsNamed() {
    Results first = Samples.results(1, 1, 1);
    var second = new Results(first.machine(), first.find("limit.*|boundary.*"), List.of(), List.of(), List.of());
    List<Compare.Line> lines = Compare.of(first, second);
    assertThat(Compare.isWorse(lines)).isTrue();
    assertThat(Compare.table(lines)).contains("sinkhorn.forward", "missing").doesNotContain("slower");
  }
}
