// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static dev.mhc.bench.report.Plot.format;

import dev.mhc.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The same comparison at several depths and with several seeds, and a table of all of them. */
final class Study {
  private static final int[] LAYERS = {12, 24, 48};
  private static final int SEEDS = 3;

  /** Takes runs to their end; nothing if they were stopped. */
  interface Runner {
    List<Report.Run> run(Runs runs, Corpus corpus, Path page) throws IOException;
  }

  private final Device device;
  private final Corpus corpus;
  private final Settings settings;
  private final List<Kind> kinds;
  private final Runner runner;
  private final Path folder;
  private final PrintWriter out;

  Study(Device device, Corpus corpus, Settings settings, List<Kind> kinds, Runner runner, Path folder, PrintWriter out) {
    this.device = device;
    this.corpus = corpus;
    this.settings = settings;
    this.kinds = kinds;
    this.runner = runner;
    this.folder = folder;
    this.out = out;
  }

  /** Whether it came to the end. What is there by then is in the table in any case. */
  boolean run() throws IOException {
    var done = new ArrayList<Report.Run>();
    for (int seed = 1; seed <= SEEDS; seed++) {
      for (int layers : LAYERS) {
        var trainings = new ArrayList<Training>();
        for (Kind kind : kinds) {
          trainings.add(Training.start(device, settings.with(kind).with(layers, seed), corpus));
        }
        try (var runs = new Runs(device, trainings, folder, out)) {
          runs.stopOnSignal();
          List<Report.Run> some = runner.run(runs, corpus, folder.resolve(layers + "-layers-seed-" + seed + ".html"));
          if (some.isEmpty()) {
            return false;
          }
          done.addAll(some);
          Files.writeString(folder.resolve("study.md"), table(done));
        }
      }
    }
    return true;
  }

  static String table(List<Report.Run> runs) {
    var text = new StringBuilder("| layers | seed | kind | loss on held-out text | largest gain forward | backward | tokens/s |\n"
        + "|---|---|---|---|---|---|---|\n");
    for (Report.Run run : runs) {
      text.append(format("| %d | %d | %s | %.4f | %.3g | %.3g | %.0f |%s%n", run.settings().layers(), run.settings().seed(),
          run.name(), run.checked(History.Check::loss), run.checked(History.Check::forwardGain),
          run.checked(History.Check::backwardGain), run.settings().tokens() / run.history().median(History.Row::seconds),
          run.history().end() == null ? "" : " ended: " + run.history().end() + " |"));
    }
    return text.toString();
  }
}
