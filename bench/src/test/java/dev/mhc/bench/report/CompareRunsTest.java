// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bench.report.Compare.Line;
import dev.mhc.bench.report.Compare.Verdict;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * On runs of the suite that were measured, minutes apart, on a machine that was busy with other work all along: two of the same
 * code on one thread, and two on both threads of the machine, where the other work is in the way of one of them.
 */
class CompareRunsTest {
  private static final String BOUNDARY = "boundary.forward";
  private static final String UNFUSED = "boundary.forwardFiveOperations";

  private static Results read(String name) {
    try {
      return Results.read(Path.of(CompareRunsTest.class.getResource(name + ".json").toURI()));
    } catch (IOException | URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"one-thread", "two-threads"})
  void equalCodeIsTheSame(String runs) {
    Results first = read(runs + "-first");
    Results second = read(runs + "-second");
    for (List<Line> lines : List.of(Compare.of(first, second), Compare.of(second, first))) {
      assertThat(lines).hasSizeGreaterThanOrEqualTo(5).allMatch(line -> line.verdict() == Verdict.SAME);
      assertThat(Compare.isWorse(lines)).isFalse();
    }
  }

  /** In the second run, what the boundary takes is what its five operations took. */
  @Test
  void aBoundaryThatCameApartIsSlowerAndNothingElseIs() {
    Results first = read("one-thread-first");
    Results second = read("one-thread-second");
    Measurement unfused = second.find(UNFUSED).getFirst();
    var planted = new Results(second.machine(), second.measurements().stream().map(m -> m.name().equals(BOUNDARY)
        ? new Measurement(m.name(), m.parameters(), unfused.seconds(), m.cost(), m.ledger()) : m).toList(),
        second.comparisons(), second.steps(), second.failures());
    assertThat(Compare.of(first, planted)).allMatch(
        line -> line.verdict() == (line.key().startsWith(BOUNDARY + " ") ? Verdict.SLOWER : Verdict.SAME));
    assertThat(Compare.of(planted, first)).allMatch(
        line -> line.verdict() == (line.key().startsWith(BOUNDARY + " ") ? Verdict.FASTER : Verdict.SAME));
    assertThat(Compare.table(Compare.of(first, planted))).contains("1.504", "slower", "4 of 5 are the same");
  }
}
