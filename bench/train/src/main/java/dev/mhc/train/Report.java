// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static dev.mhc.bench.report.Plot.format;

import dev.mhc.bench.report.Bars;
import dev.mhc.bench.report.Html;
import dev.mhc.bench.report.Machine;
import dev.mhc.bench.report.Plot;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/** What runs side by side have shown, as a page. */
final class Report {
  private static final int WIDTH = 560;
  private static final int HEIGHT = 340;
  private static final int SMOOTH = 20; // steps that a point of the loss is the mean of

  /** A run that is over, or as far as it came. */
  record Run(Settings settings, History history, Mixing mixing, List<Memory> memory) {
    String name() {
      return settings.kind().toString();
    }

    /** Of the last look at held-out text. */
    double checked(ToDoubleFunction<History.Check> of) {
      List<History.Check> checks = history.checks();
      return checks.isEmpty() ? Double.NaN : of.applyAsDouble(checks.getLast());
    }

    int color() {
      return switch (settings.kind()) {
        case RESIDUAL -> 2;
        case HC -> 1;
        case MHC -> 0;
        case MHC_LITE -> 3;
      };
    }
  }

  private final List<Run> runs;
  private final Html html = new Html("Training with hyper-connections");

  private Report(List<Run> runs) {
    this.runs = runs;
  }

  /** The page; threads: that mhc and PyTorch had. */
  static String of(List<Run> runs, Machine machine, int threads) {
    var report = new Report(runs);
    report.settings(machine, threads);
    report.losses();
    report.gains();
    report.mixes();
    report.times();
    report.memory();
    return report.html.page();
  }

  private void settings(Machine machine, int threads) {
    Settings s = runs.get(0).settings();
    html.paragraph(format("A causal transformer on bytes: %d layers (%d functions F, attention and feed-forward in turn), width"
        + " %d, %d heads, context %d, batch %d; n = %d streams (residual: 1), streams in mhc %s, F in FP32%s. %s for hidden"
        + " matrices, AdamW for the rest, learning rate %s, %d steps, seed %d.", s.layers(), s.functions(), s.width(), s.heads(),
        s.context(), s.batch(), s.streams(), s.precision(),
        s.recompute() ? ", residuals recomputed" : "", optimizer(s.optimizer()),
        Plot.number(s.rate()), s.steps(), s.seed()));
    html.paragraph("Text: " + s.text() + ". The last twentieth is not trained on.");
    html.paragraph(format("%s, threads: %d, %s, mhc %s. Steps of the runs were taken in turns.", machine.cpu(), threads,
        machine.java(), machine.mhc()));
  }

  private static String optimizer(Settings.MatrixOptimizer optimizer) {
    return switch (optimizer) {
      case MUON -> "Muon (8 + 2 steps)";
      case MUON_SHORT -> "Muon (5 steps)";
      case ADAMW -> "AdamW";
    };
  }

  // ------------------------------------------------------------------------------------------------ loss

  private void losses() {
    html.heading("Loss");
    var rows = new ArrayList<List<String>>();
    double base = runs.get(0).checked(History.Check::loss);
    for (Run run : runs) {
      int steps = run.history().rows().size();
      double loss = run.checked(History.Check::loss);
      rows.add(List.of(run.name(), String.valueOf(steps), format("%.4f", mean(run.history().column(History.Row::loss), steps - 1)),
          format("%.4f", loss), format("%+.4f", loss - base), format("%.3g", run.checked(History.Check::forwardGain)),
          format("%.3g", run.checked(History.Check::backwardGain)),
          format("%.0f", run.settings().tokens() / run.history().median(History.Row::seconds))));
    }
    html.table(List.of("kind", "steps", "loss", "loss on held-out text", "against " + runs.get(0).name(), "largest gain forward",
        "largest gain backward", "tokens/s"), rows, "");
    for (Run run : runs) {
      if (run.history().end() != null) {
        html.paragraph(run.name() + " ended: " + run.history().end() + ".");
      }
    }
    html.paragraph("Nats a byte; the loss in training is the mean of the last " + SMOOTH
        + " steps. One seed of each: a difference smaller than that between seeds says nothing.");
    html.plots(curves("Loss in training, mean of " + SMOOTH + " steps", "nats a byte", History.Row::loss, true),
        checks("Loss on held-out text", "nats a byte", History.Check::loss, true));
    html.plots(curves("Gradient norm", "norm of all gradients", History.Row::gradientNorm, true), apart());
  }

  /** Where lines lie on each other, their difference. */
  private String apart() {
    var plot = new Plot("Loss on held-out text less that of " + runs.get(0).name(), "step", "nats a byte", WIDTH, HEIGHT);
    double[] base = runs.get(0).history().checkColumn(History.Check::loss);
    for (Run run : runs) {
      double[] loss = run.history().checkColumn(History.Check::loss);
      int both = Math.min(base.length, loss.length); // a run may have ended before
      plot.curve(run.name(), run.color(), Arrays.copyOf(run.history().checkColumn(History.Check::step), both),
          IntStream.range(0, both).mapToDouble(i -> loss[i] - base[i]).toArray());
    }
    return plot.svg();
  }

  private String curves(String title, String unit, ToDoubleFunction<History.Row> of, boolean logarithmic) {
    var plot = new Plot(title, "step", unit, WIDTH, HEIGHT).logarithmic(false, logarithmic);
    for (Run run : runs) {
      double[] values = run.history().column(of);
      plot.curve(run.name(), run.color(), run.history().steps(),
          IntStream.range(0, values.length).mapToDouble(i -> mean(values, i)).toArray());
    }
    return plot.svg();
  }

  private static double mean(double[] values, int last) {
    return IntStream.rangeClosed(Math.max(0, last - SMOOTH + 1), last).mapToDouble(i -> values[i]).average().orElse(Double.NaN);
  }

  private String checks(String title, String unit, ToDoubleFunction<History.Check> of, boolean logarithmic) {
    var plot = new Plot(title, "step", unit, WIDTH, HEIGHT).logarithmic(false, logarithmic);
    for (Run run : runs) {
      plot.curve(run.name(), run.color(), run.history().checkColumn(History.Check::step), run.history().checkColumn(of));
    }
    return plot.svg();
  }

  // ------------------------------------------------------------------------------------------------ gains and mixes

  private void gains() {
    html.heading("Amax gain: how much a signal and a gradient can grow");
    html.paragraph("Largest |row sum| (forward) and |column sum| (backward) of the mixing matrices on held-out text, means over"
        + " tokens; composite: of the product of the matrices of all functions up to one. The plain residual's is 1.");
    html.plots(byFunction("Of each function, forward", Mixing::forward), byFunction("Of each function, backward", Mixing::backward));
    html.plots(byFunction("Composite, forward", Mixing::compositeForward),
        byFunction("Composite, backward", Mixing::compositeBackward));
    html.plots(checks("Largest composite gain while training, forward", "Amax gain", History.Check::forwardGain, true),
        checks("Largest composite gain while training, backward", "Amax gain", History.Check::backwardGain, true));
  }

  private String byFunction(String title, Function<Mixing, double[]> of) {
    var plot = new Plot(title, "function", "Amax gain", WIDTH, HEIGHT).logarithmic(false, true);
    for (Run run : runs) {
      double[] values = of.apply(run.mixing());
      plot.curve(run.name(), run.color(), IntStream.rangeClosed(1, values.length).asDoubleStream().toArray(), values);
    }
    return plot.svg();
  }

  private void mixes() {
    html.heading("What the residual streams learned to mix");
    html.paragraph("resMix of each function, mean over tokens of held-out text: a row is the stream that goes out, a column one"
        + " that comes in. White is 0, full blue 1 or more, full red -1 or less.");
    for (Run run : runs) {
      if (run.mixing().resMix()[0].length > 1) {
        html.plots(HeatMap.svg(run.name(), run.mixing().resMix()));
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ cost

  private void times() {
    html.heading("What a step takes");
    var bars = new Bars("Milliseconds, medians over steps", 220);
    var rows = new ArrayList<List<String>>();
    double base = runs.get(0).history().mean(History.Row::cpuSeconds);
    for (Run run : runs) {
      History history = run.history();
      double all = history.median(History.Row::seconds);
      double connections = history.median(History.Row::connectionSeconds);
      double functions = history.median(History.Row::functionSeconds);
      double optimizer = history.median(History.Row::optimizerSeconds);
      double rest = all - connections - functions - optimizer;
      double cpu = history.mean(History.Row::cpuSeconds);
      bars.bar(run.name() + ": all", all, format("%.1f ms", 1e3 * all), run.color());
      bars.bar("mhc", connections, format("%.1f ms, %.1f %%", 1e3 * connections, 100 * connections / all), run.color());
      bars.bar("F", functions, format("%.1f ms", 1e3 * functions), run.color());
      bars.bar("optimiser", optimizer, format("%.1f ms", 1e3 * optimizer), run.color());
      bars.bar("embedding, head, loss", rest, format("%.1f ms", 1e3 * rest), run.color());
      rows.add(List.of(run.name(), milliseconds(all), milliseconds(connections), milliseconds(functions),
          milliseconds(optimizer), milliseconds(rest), milliseconds(cpu), format("%+.1f %%", 100 * (cpu / base - 1))));
    }
    html.plots(bars.svg());
    html.table(List.of("kind", "step, ms", "mhc", "F", "optimiser", "rest", "CPU, ms a step",
        "CPU against " + runs.get(0).name()), rows, "");
    html.paragraph("The time of the CPU is that of all threads together, a mean over steps: what else the machine does changes it"
        + " little. The optimiser is the same work for all kinds, but for what they learn themselves.");
  }

  private static String milliseconds(double seconds) {
    return format("%.1f", 1e3 * seconds);
  }

  private void memory() {
    if (runs.stream().allMatch(run -> run.memory().isEmpty())) {
      return;
    }
    html.heading("What mhc holds in a step");
    html.paragraph("Residual streams and their gradient, by the device's own account, beside what the planner expects: n C a block"
        + " of functions and (n + 2) C a function of one block; without recomputing n C a function. Of these n + 2 the input of F"
        + " and its norm belong to DJL here, with all that F keeps for its gradient, and are not in what was measured.");
    var bars = new Bars("MiB", 300);
    for (Run run : runs) {
      for (Memory each : run.memory()) {
        String label = run.name() + (each.recompute() ? ", recomputed" : ", all kept");
        bars.bar(label + ", planned", each.predicted(), format("%.2f MiB", each.predicted() / 0x1p20), 2);
        bars.bar(label + ", measured", each.measured(), format("%.2f MiB", each.measured() / 0x1p20), run.color());
      }
    }
    html.plots(bars.svg());
  }
}
