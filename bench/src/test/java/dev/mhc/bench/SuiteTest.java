// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bench.report.Measurement;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.openjdk.jmh.runner.options.Options;

/** What the profiles run, and in how many processes. */
class SuiteTest {
  @ParameterizedTest
  @EnumSource(names = {"STANDARD", "FULL"})
  void aProfileHasEveryBenchmark(Profile profile) {
    List<Options> plan = Suite.plan(profile.parts, List.of());
    List<String> planned = plan.stream().flatMap(options -> options.getIncludes().stream())
        .map(include -> Suite.name(include.replaceAll("^\\^\\\\Q|\\\\E\\$$", ""))).distinct().toList();
    assertThat(planned).containsAll(Suite.benchmarks().stream().map(Suite.Benchmark::name).toList());
    assertThat(planned).contains("limit.copy", "limit.stream", "limit.read", "limit.multiplyAdds");
    assertThat(plan).allMatch(options -> options.getForkCount().get() == 1); // of each round
  }

  @Test
  void layersAreOfStacksAlone() {
    List<Options> plan = Suite.plan(Profile.STANDARD.parts, List.of("stack"));
    assertThat(plan).hasSize(2); // the limits first
    assertThat(plan.getLast().getParameter("layers").get()).containsExactly("1", "2", "4", "8", "16", "32");
    assertThat(Suite.expected(plan.getLast())).isEqualTo(2 * 6 * Suite.expected(plan.getFirst()) / 4);
  }

  @Test
  void whatABenchmarkHasNotTakesNoTime() {
    var parts = List.of(new Profile.Part("^(pre.forward|stack.forward)$", Map.of("layers", new String[] {"1", "2", "4"})));
    List<Options> plan = Suite.plan(parts, List.of());
    assertThat(Suite.expected(plan.getLast())).isEqualTo((1 + 3) * Suite.expected(plan.getFirst()) / 4);
  }

  @Test
  void roundsAreTheForksOfOneMeasurement() {
    Measurement merged = Stream.of(1.0, 2.0, 3.0)
        .map(seconds -> new Measurement("pre.forward", Map.of(), new double[][] {{seconds}}, new Cost(1, 1, 0, 0, 0), null))
        .reduce(Measurement::with).orElseThrow();
    assertThat(merged.seconds()).isDeepEqualTo(new double[][] {{1}, {2}, {3}});
    assertThat(merged.time().degrees()).isEqualTo(2);
  }
}
