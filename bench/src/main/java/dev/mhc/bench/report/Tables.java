// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.bench.Cost;
import dev.mhc.bench.Spread;
import dev.mhc.bench.Table;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** Results as tables, for the screen, for Markdown and for the page. */
public final class Tables {
  private static final List<String> HEADS = List.of("operation", "shape", "time", "99 % interval", "GB/s", "limit",
      "of the limit", "moves", "loads and stores");

  private Tables() {}

  /** Every benchmark beside its limit. */
  public static String operations(Results results) {
    return screen(HEADS, rows(results));
  }

  /** What was compared in turns. */
  public static String comparison(Comparison comparison) {
    return title(comparison) + System.lineSeparator() + screen(comparisonHeads(comparison), comparisonRows(comparison));
  }

  /** Everything. */
  public static String markdown(Results results) {
    var text = new StringBuilder("<!-- SPDX-License-Identifier: Apache-2.0 -->\n# Benchmarks\n\n");
    text.append(machine(results.machine())).append("\n\n").append(markdown(HEADS, rows(results)));
    if (!Floors.rows(results).isEmpty()) {
      text.append("\n## ").append(Floors.TITLE).append("\n").append(Floors.WORDS).append("\n\n")
          .append(markdown(Floors.HEADS, Floors.rows(results)));
    }
    for (Comparison each : results.comparisons()) {
      text.append("\n## ").append(title(each)).append('\n')
          .append(markdown(comparisonHeads(each), comparisonRows(each)));
    }
    if (!results.steps().isEmpty()) {
      text.append("\n## What a training step holds, by layers of a recomputed block\n").append(markdown(STEP_HEADS, steps(results)));
    }
    return text.toString();
  }

  /** The machine in a sentence. */
  public static String machine(Machine m) {
    return String.format(Locale.ROOT,
        "%s, %d threads, vector code %s, %.0f GiB, %s; %s; %s; mhc %s, commit %s; %s; load %.1f before, %.1f at the end.",
        m.cpu(), m.threads(), m.tier(), m.memory() / 0x1p30, m.system(), m.java(), m.compiler(), m.mhc(), m.commit(),
        m.date(), m.loadBefore(), m.loadAfter());
  }

  // ------------------------------------------------------------------------------------------------ rows

  static List<String> heads() {
    return HEADS;
  }

  static List<List<String>> rows(Results results) {
    var rows = new ArrayList<List<String>>();
    for (Measurement each : results.measurements()) {
      Interval time = each.time();
      String interval = Double.isInfinite(time.high()) ? "one fork" : time(time.low()) + " … " + time(time.high());
      if (each.isLimit()) {
        rows.add(List.of(each.name(), shape(each.parameters()), time(time.value()), interval, rate(each), "", "", "", ""));
        continue;
      }
      Rates rates = results.rates(each);
      Interval floor = rates.floor(each.cost());
      String limit = floor.equals(rates.adds(each.cost())) ? "multiply-adds" : each.cost().onlyReads() ? "read" : "copy";
      rows.add(List.of(each.name(), shape(each.parameters()), time(time.value()), interval, rate(each), limit,
          String.format(Locale.ROOT, "%.0f %%", 100 * floor.value() / time.value()),
          each.ledger() == null ? "" : elements(each.ledger().moved()),
          each.ledger() == null ? "" : elements(each.ledger().counted()) + " counted"));
    }
    return rows;
  }

  private static String elements(double count) {
    return Plot.number(count) + " C";
  }

  private static String rate(Measurement of) {
    Cost cost = of.cost();
    return cost.bytes() > 0 ? String.format(Locale.ROOT, "%.1f", cost.bytes() / of.time().value() * 1e-9)
        : String.format(Locale.ROOT, "%.0f G adds/s", cost.multiplyAdds() / of.time().value() * 1e-9);
  }

  static String title(Comparison comparison) {
    return comparison.title() + (comparison.parameters().isEmpty() ? "" : ", " + shape(comparison.parameters()));
  }

  static List<String> comparisonHeads(Comparison comparison) {
    return List.of("", "median", "min", "max", "over " + comparison.entries().get(0).name(), "bytes a call");
  }

  static List<List<String>> comparisonRows(Comparison comparison) {
    Comparison.Entry first = comparison.entries().get(0);
    return comparison.entries().stream().map(entry -> {
      var spread = new Spread(entry.seconds());
      return List.of(entry.name(), time(spread.median()), time(spread.min()), time(spread.max()),
          entry == first ? "" : over(first.seconds(), entry.seconds()),
          entry.bytesPerCall() == null ? "" : Plot.number(entry.bytesPerCall()));
    }).toList();
  }

  /** How much longer the second takes, by pairs of rounds: as a factor, or where that is small as a difference. */
  static String over(double[] first, double[] second) {
    Paired ratio = Paired.ratio(first, second);
    if (Math.abs(ratio.median() - 1) > 0.2) {
      return times(ratio.median()) + "× [" + times(ratio.low()) + " … " + times(ratio.high()) + "]";
    }
    Paired difference = Paired.difference(first, second);
    return difference.excludes(0) ? String.format(Locale.ROOT, "%s [%s … %s], %+.2f %%", signed(difference.median()),
        signed(difference.low()), signed(difference.high()), 100 * (ratio.median() - 1))
        : String.format(Locale.ROOT, "no difference beyond noise, %+.2f … %+.2f %%", 100 * (ratio.low() - 1),
            100 * (ratio.high() - 1));
  }

  private static String times(double ratio) {
    return String.format(Locale.ROOT, ratio < 100 ? "%.3g" : "%.0f", ratio);
  }

  private static String signed(double seconds) {
    return (seconds < 0 ? "−" : "+") + time(Math.abs(seconds));
  }

  static final List<String> STEP_HEADS = List.of("layers of a block", "planned", "predicted", "measured", "time");

  static List<List<String>> steps(Results results) {
    return results.steps().stream().map(step -> List.of(String.valueOf(step.blockLength()),
        step.planned() ? "the planner's choice" : "", mebibytes(step.predicted()), mebibytes(step.measured()),
        time(step.seconds()))).toList();
  }

  private static String mebibytes(double bytes) {
    return String.format(Locale.ROOT, "%.1f MiB", bytes / 0x1p20);
  }

  /** Parameters in the words of the library. */
  static String shape(Map<String, String> parameters) {
    var words = Map.of("tokens", "T=", "streams", "n=", "width", "C=", "layers", "L=");
    return parameters.entrySet().stream().filter(each -> !each.getKey().equals("device")).map(each -> switch (each.getKey()) {
      case "threads" -> threads(each.getValue());
      case "dtype" -> each.getValue().toLowerCase(Locale.ROOT);
      default -> words.getOrDefault(each.getKey(), each.getKey() + "=") + each.getValue();
    }).collect(Collectors.joining(" "));
  }

  static String threads(String count) {
    return count.equals("0") ? "all threads" : count + (count.equals("1") ? " thread" : " threads");
  }

  /** A time in the unit that suits it. */
  static String time(double seconds) {
    return seconds == 0 ? "0 ns" : seconds >= 1 ? String.format(Locale.ROOT, "%.2f s", seconds)
        : seconds >= 1e-3 ? String.format(Locale.ROOT, "%.2f ms", seconds * 1e3)
            : seconds >= 1e-6 ? String.format(Locale.ROOT, "%.2f µs", seconds * 1e6)
                : String.format(Locale.ROOT, "%.2f ns", seconds * 1e9);
  }

  // ------------------------------------------------------------------------------------------------ forms

  private static String screen(List<String> heads, List<List<String>> rows) {
    var table = new Table(heads.toArray(String[]::new));
    rows.forEach(row -> table.row(row.toArray(String[]::new)));
    return table.toString();
  }

  private static String markdown(List<String> heads, List<List<String>> rows) {
    var text = new StringBuilder(line(heads)).append(line(heads.stream().map(head -> "---").toList()));
    rows.forEach(row -> text.append(line(row)));
    return text.toString();
  }

  private static String line(List<String> cells) {
    return cells.stream().map(cell -> cell.replace("|", "\\|")).collect(Collectors.joining(" | ", "| ", " |\n"));
  }
}
