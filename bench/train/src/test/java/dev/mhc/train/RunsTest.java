// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.Device;
import dev.mhc.bench.report.Machine;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunsTest {
  @TempDir
  Path folder;

  @Test
  void aNaNEndsOneRunAndTheOthersGoOn() throws IOException {
    var said = new StringWriter();
    try (Device device = Small.device()) {
      Training well = Training.start(device, Small.settings(Kind.RESIDUAL, 1), Small.corpus());
      Training ill = Training.start(device, Small.settings(Kind.HC, 1), Small.corpus());
      try (var runs = new Runs(device, List.of(well, ill), folder, new PrintWriter(said, true))) {
        ill.learned().getLast().value.set(Double.NaN, 0, 0);
        assertThat(runs.run(new Runs.Intervals(5, 5), false)).isTrue();
        assertThat(well.steps()).isEqualTo(12);
        assertThat(well.history().end()).isNull();
        assertThat(ill.steps()).isZero();
        assertThat(ill.history().end()).startsWith("step 1: ");
        assertThat(said.toString()).contains("hc ends: step 1: ");
        List<Report.Run> done = runs.trainings().stream().map(each -> {
          each.validate();
          return new Report.Run(each.settings, each.history(), each.mixing(), List.of());
        }).toList();
        assertThat(Report.of(done, Machine.current(), 1)).contains("hc ended: step 1: ");
        assertThat(Study.table(done)).contains("| 1 | 7 | hc | NaN |", "| ended: step 1: ").contains("| 1 | 7 | residual | ");
      }
    }
    try (var left = Files.list(folder)) {
      assertThat(left.toList()).containsExactly(folder.resolve("residual-1-7")); // the other one was never whole
    }
  }
}
