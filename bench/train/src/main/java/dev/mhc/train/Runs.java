// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Runs that go on side by side, a step of each in turn, so that whatever else the machine does meets all of them. */
final class Runs implements AutoCloseable {
  private static final long PATIENCE = 120; // seconds for the last step and the checkpoint

  private final Device device;
  private final List<Training> trainings;
  private final Path folder;
  private final PrintWriter out;
  private final CountDownLatch over = new CountDownLatch(1);
  private volatile boolean isStopped;

  /** How often things are done, in steps. */
  record Intervals(int check, int save) {}

  Runs(Device device, List<Training> trainings, Path folder, PrintWriter out) {
    this.device = device;
    this.trainings = trainings;
    this.folder = folder;
    this.out = out;
  }

  List<Training> trainings() {
    return trainings;
  }

  /** Where a run keeps its checkpoints. */
  private Path folder(Settings settings) {
    return folder.resolve(settings.kind() + "-" + settings.layers() + "-" + settings.seed());
  }

  /** Has Ctrl-C end the runs after the step that is under way, with a checkpoint. */
  void stopOnSignal() {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      isStopped = true;
      try {
        over.await(PATIENCE, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }));
  }

  /** Runs to the end, or until it is stopped; whether it came to the end. A run with a NaN ends there, the others go on. */
  boolean run(Intervals intervals, boolean isTerminal) throws IOException {
    int total = trainings.stream().mapToInt(training -> training.settings.steps()).sum();
    var progress = new ProgressLine(out, isTerminal, total, steps());
    while (!isStopped && !isOver()) {
      for (Training training : trainings) {
        if (!training.isOver()) {
          try {
            step(training, intervals);
          } catch (NotFiniteException e) {
            training.history().end(e.getMessage());
            progress.end();
            out.println("    " + training.settings.kind() + " ends: " + e.getMessage());
          }
        }
      }
      progress.show(steps(), words(), isOver());
    }
    if (!isOver()) {
      progress.end();
      for (Training training : trainings) {
        out.println("    saved " + training.save(folder(training.settings)));
      }
    }
    return isOver();
  }

  private boolean isOver() {
    return trainings.stream().allMatch(Training::isOver);
  }

  private void step(Training training, Intervals intervals) throws IOException {
    training.step();
    if (training.isOver() || training.steps() % intervals.check() == 0) {
      training.check();
    }
    if (training.isOver() || training.steps() % intervals.save() == 0) {
      training.save(folder(training.settings));
    }
  }

  private int steps() {
    return trainings.stream().mapToInt(Training::steps).sum();
  }

  private String words() {
    var parts = new ArrayList<String>();
    for (Training training : trainings) {
      List<History.Row> rows = training.history().rows();
      List<History.Check> checks = training.history().checks();
      if (!rows.isEmpty()) {
        double tokens = training.settings.tokens() / training.history().median(History.Row::seconds);
        parts.add(String.format(Locale.ROOT, "%s %.3f, %.0f tokens/s%s", training.settings.kind(), rows.getLast().loss(), tokens,
            checks.isEmpty() ? "" : String.format(Locale.ROOT, ", gain %.3g", checks.getLast().forwardGain())));
      }
    }
    return String.join("; ", parts);
  }

  Device device() {
    return device;
  }

  Path folder() {
    return folder;
  }

  @Override
  public void close() {
    trainings.forEach(Training::close);
    over.countDown();
  }
}
