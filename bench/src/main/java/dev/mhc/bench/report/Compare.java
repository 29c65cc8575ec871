// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.bench.Table;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Two runs of the suite beside each other. What is compared is not time but time over what the machine could do during
 * that run, so that a busy or a slower machine is no regression.
 */
public final class Compare {
  /** Slower than this for certain is called slower: smaller differences come from where a process lays its memory. */
  static final double TOLERATED = 1.03;

  /** What became of a benchmark. */
  public enum Verdict {
    /** More time over its floor, beyond noise. */
    SLOWER,
    /** Less. */
    FASTER,
    /** Neither is certain. */
    SAME,
    /** It is in the first run alone. */
    MISSING
  }

  /**
   * One benchmark.
   *
   * @param key of it
   * @param ratio second over first; null where it is missing
   * @param verdict on it
   */
  public record Line(String key, Interval ratio, Verdict verdict) {}

  private Compare() {}

  /** The benchmarks of the first run in the second. */
  public static List<Line> of(Results first, Results second) {
    Map<String, Measurement> after = new LinkedHashMap<>();
    second.measurements().forEach(m -> after.put(m.key(), m));
    return first.measurements().stream().filter(m -> !m.isLimit()).map(before -> {
      Measurement now = after.get(before.key());
      if (now == null) {
        return new Line(before.key(), null, Verdict.MISSING);
      }
      Interval machine = second.rates(now).floor(before.cost()).over(first.rates(before).floor(before.cost()));
      Interval ratio = now.time().over(before.time()).over(machine);
      return new Line(before.key(), ratio, verdict(ratio));
    }).toList();
  }

  private static Verdict verdict(Interval ratio) {
    return ratio.low() > TOLERATED ? Verdict.SLOWER : ratio.high() < 1 / TOLERATED ? Verdict.FASTER : Verdict.SAME;
  }

  /** Whether anything got slower, or is missing. */
  public static boolean isWorse(List<Line> lines) {
    return lines.stream().anyMatch(line -> line.verdict() == Verdict.SLOWER || line.verdict() == Verdict.MISSING);
  }

  /** For people: what changed, and how many did not. */
  public static String table(List<Line> lines) {
    var table = new Table("second over first, each over its floor", "ratio", "99 % interval", "");
    for (Line line : lines) {
      if (line.verdict() == Verdict.MISSING) {
        table.row(line.key(), "", "", "missing");
      } else if (line.verdict() != Verdict.SAME) {
        table.row(line.key(), number(line.ratio().value()),
            number(line.ratio().low()) + " .. " + number(line.ratio().high()),
            line.verdict().name().toLowerCase(Locale.ROOT));
      }
    }
    long same = lines.stream().filter(line -> line.verdict() == Verdict.SAME).count();
    return table + String.format(Locale.ROOT, "  %d of %d are the same within noise and %.0f %%.%n", same, lines.size(),
        100 * (TOLERATED - 1));
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, "%.3f", value);
  }
}
