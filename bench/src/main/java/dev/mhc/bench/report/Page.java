// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static dev.mhc.bench.report.Plot.escape;
import static dev.mhc.bench.report.Plot.format;
import static dev.mhc.bench.report.Tables.time;

import dev.mhc.bench.Spread;
import dev.mhc.bench.TrainingMemory;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;

/** Results as one HTML page that needs nothing else. */
public final class Page {
  static final int FORWARD = 0;
  static final int BACKWARD = 1;
  static final int LIMIT = 2;
  static final int OTHER = 3;

  private final Results results;
  private final Html html = new Html("mhc benchmarks");

  private Page(Results results) {
    this.results = results;
  }

  /** The page. */
  public static String of(Results results) {
    return new Page(results).make();
  }

  private String make() {
    html.paragraph(Tables.machine(results.machine()));
    if (!results.measurements().isEmpty()) {
      operations();
      Products.describe(results, html);
      Scaling.describe(results, html);
    }
    comparisons("peers", "Beside other libraries",
        "The same work on the same values, compared first, then timed in turns. Bars are medians.");
    comparisons("calls", "What calling from Java costs", "Called in turns on the same memory. Bars are medians.");
    comparisons("startup", "From the start of a process to its end", "Processes started in turns. Bars are medians.");
    memory();
    if (!results.measurements().isEmpty()) {
      html.heading("Every benchmark");
      html.paragraph("Time is the mean over forks, with the 99 % interval that the forks give. The limit is the larger of two"
          + " floors: the bytes at the rate of a copy (of a read, where nothing is written), and the multiply-adds at the"
          + " rate of independent chains in registers, both measured in this run on as many threads. Moves: elements of C"
          + " a token that have to come from memory and go there. Loads and stores: counted one by one by the library itself.");
      html.table(Tables.heads(), Tables.rows(results), "shapes");
    }
    return html.page();
  }

  // ------------------------------------------------------------------------------------------------ operations

  /** The largest shape that every operation has. */
  static List<Measurement> largest(Results results) {
    return results.measurements().stream().filter(m -> !m.isLimit() && isStandard(m))
        .collect(java.util.stream.Collectors.toMap(Measurement::name, m -> m,
            (a, b) -> size(a) >= size(b) ? a : b, java.util.LinkedHashMap::new)).values().stream().toList();
  }

  private static boolean isStandard(Measurement m) {
    return !m.operation().equals("stack") && m.parameter("threads").equals("0") && m.parameter("dtype").equals("BF16") && m.parameter("streams").equals("4")
        && Integer.parseInt(m.parameter("tokens")) <= 2048 && m.parameter("width").equals("2560");
  }

  private static int size(Measurement m) {
    return Integer.parseInt(m.parameter("tokens"));
  }

  private void operations() {
    List<Measurement> shown = largest(results);
    if (shown.isEmpty()) {
      return;
    }
    html.heading("Every operation beside its limit");
    html.paragraph(Tables.shape(shown.get(0).parameters())
        + ". The roof: what a copy and what multiply-adds in registers allow. Point at a dot for its name.");
    html.plots(roofline(shown), fractions(shown));
    html.heading(Floors.TITLE);
    html.paragraph(Floors.WORDS);
    html.table(Floors.HEADS, Floors.rows(results), "");
    var forms = new ArrayList<String>();
    forms(shown, "boundary", "The same boundary, cut into more operations", forms);
    forms(shown, "boundary(Norm|Fp8)", "The same with RMSNorm and FP8 of h, in one pass and apart", forms);
    forms(shown, "fp8Output", "With F's output in FP8, read as it is and apart", forms);
    if (!forms.isEmpty()) {
      html.heading("One pass, or more");
      html.plots(forms.toArray(String[]::new));
    }
  }

  private static void forms(List<Measurement> shown, String operations, String title, List<String> plots) {
    List<Measurement> forms = shown.stream().filter(m -> m.operation().matches(operations)).toList();
    if (!forms.isEmpty()) {
      var bars = new Bars(title, 240);
      forms.stream().sorted(Comparator.comparingDouble(m -> m.time().value())).forEach(m -> bars.bar(m.name(),
          m.time().value(), time(m.time().value()) + ", moves " + Plot.number(m.ledger().counted()) + " C", color(m)));
      plots.add(bars.svg());
    }
  }

  static int color(Measurement m) {
    return m.name().toLowerCase(Locale.ROOT).contains("backward") ? BACKWARD : FORWARD;
  }

  private String roofline(List<Measurement> shown) {
    Rates rates = results.rates(shown.get(0));
    List<Measurement> adding = shown.stream().filter(m -> m.cost().multiplyAdds() > 0 && !Products.isOne(m)).toList();
    ToDoubleFunction<Measurement> intensity = m -> m.cost().multiplyAdds() / m.cost().bytes();
    double low = adding.stream().mapToDouble(intensity).min().orElse(0.1) / 2;
    double high = adding.stream().mapToDouble(intensity).max().orElse(10) * 2;
    double slope = 1e-9 / rates.copied().value();
    double roof = 1e-9 / rates.multiplyAdd().value();
    double ridge = Math.clamp(roof / slope, low, high);
    var plot = new Plot("Roofline", "multiply-adds a byte", "G multiply-adds/s", 620, 440).logarithmic(true, true)
        .line("limit", LIMIT, new double[] {low, ridge, high},
            new double[] {Math.min(roof, low * slope), Math.min(roof, ridge * slope), Math.min(roof, high * slope)});
    for (int color : new int[] {FORWARD, BACKWARD}) {
      List<Measurement> some = adding.stream().filter(m -> color(m) == color).toList();
      plot.dots(color == FORWARD ? "forward" : "backward", color, some.stream().mapToDouble(intensity).toArray(),
          some.stream().mapToDouble(m -> m.cost().multiplyAdds() / m.time().value() * 1e-9).toArray(),
          some.stream().map(m -> (isLabelled(m) ? "*" : "") + m.name()).toArray(String[]::new));
    }
    return plot.svg();
  }

  private static boolean isLabelled(Measurement m) {
    return m.name().matches("boundary\\.(forward|backward)|(pre|post|sinkhorn)\\.forward|sinkhorn.backward");
  }

  private String fractions(List<Measurement> shown) {
    var bars = new Bars("How much of the limit is reached", 240);
    shown.stream().sorted(Comparator.comparingDouble(m -> -results.fraction(m)))
        .forEach(m -> bars.bar(m.name(), results.fraction(m), format("%.0f %% of %s", 100 * results.fraction(m), limit(m)), color(m)));
    return bars.svg();
  }

  private String limit(Measurement m) {
    Rates rates = results.rates(m);
    return rates.adds(m.cost()).logMean() > rates.bytes(m.cost()).logMean() ? "multiply-adds"
        : m.cost().onlyReads() ? "read" : "copy";
  }

  // ------------------------------------------------------------------------------------------------ the rest

  private void comparisons(String kind, String title, String words) {
    List<Comparison> some = results.comparisons().stream().filter(c -> c.kind().equals(kind)).toList();
    if (some.isEmpty()) {
      return;
    }
    html.heading(title);
    html.paragraph(words);
    for (Comparison each : some) {
      var bars = new Bars(Tables.title(each), 240);
      for (int i = 0; i < each.entries().size(); i++) {
        Comparison.Entry entry = each.entries().get(i);
        double median = new Spread(entry.seconds()).median();
        bars.bar(entry.name(), median, time(median), i == 0 ? FORWARD : OTHER);
      }
      html.plots(bars.svg());
      html.table(Tables.comparisonHeads(each), Tables.comparisonRows(each), "");
    }
  }

  private void memory() {
    if (results.steps().isEmpty()) {
      return;
    }
    html.heading("What a training step holds");
    html.paragraph("By the number of layers in a block whose residuals are dropped in the forward and rebuilt in the backward:"
        + " 30 layers, n=4, T=256, C=1280, bf16. Predicted is n C a block and (n + 2) C a layer of one block; measured is"
        + " the most that tensors held, by the library's own account. The first layer of a block needs no rebuilding.");
    double[] lengths = results.steps().stream().mapToDouble(TrainingMemory.Step::blockLength).toArray();
    TrainingMemory.Step planned = results.steps().stream().filter(TrainingMemory.Step::planned).findFirst()
        .orElse(results.steps().get(0));
    html.plots(new Plot("Bytes held", "layers of a block", "MiB", 540, 330).logarithmic(true, false)
        .dashed("predicted", LIMIT, lengths, results.steps().stream().mapToDouble(s -> s.predicted() / 0x1p20).toArray())
        .line("measured", FORWARD, lengths, results.steps().stream().mapToDouble(s -> s.measured() / 0x1p20).toArray())
        .dots("the planner's choice", BACKWARD, new double[] {planned.blockLength()},
            new double[] {planned.measured() / 0x1p20}, "planned: " + planned.blockLength()).ticks(lengths).svg());
    html.table(Tables.STEP_HEADS, Tables.steps(results), "");
  }
}
