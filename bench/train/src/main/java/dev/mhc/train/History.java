// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** What was measured while a run went on. */
final class History {
  /**
   * A step.
   *
   * @param step from 1
   * @param loss nats a byte
   * @param gradientNorm of all parameters together, before it is limited
   * @param seconds of all of it
   * @param connectionSeconds in mhc
   * @param functionSeconds in F, attention and feed-forward
   * @param optimizerSeconds in the optimiser
   * @param cpuSeconds of the process, all threads together: what others do on the machine counts little
   */
  record Row(int step, double loss, double gradientNorm, double seconds, double connectionSeconds, double functionSeconds,
      double optimizerSeconds, double cpuSeconds) {}

  /** Loss on text that is not trained on, and the largest composite gains at any depth. */
  record Check(int step, double loss, double forwardGain, double backwardGain) {}

  private final List<Row> rows = new ArrayList<>();
  private final List<Check> checks = new ArrayList<>();
  private @Nullable String end;

  void add(Row row) {
    rows.add(row);
  }

  void add(Check check) {
    checks.add(check);
  }

  /** There are no more steps, for a reason. */
  void end(String reason) {
    end = reason;
  }

  /** Why the run ended before its last step; null: it did not. */
  @Nullable String end() {
    return end;
  }

  List<Row> rows() {
    return rows;
  }

  List<Check> checks() {
    return checks;
  }

  double[] steps() {
    return column(Row::step);
  }

  double[] column(ToDoubleFunction<Row> of) {
    return rows.stream().mapToDouble(of).toArray();
  }

  double[] checkColumn(ToDoubleFunction<Check> of) {
    return checks.stream().mapToDouble(of).toArray();
  }

  /** The median over all steps but the first ones, which find their caches cold. */
  double median(ToDoubleFunction<Row> of) {
    double[] sorted = warm().mapToDouble(of).sorted().toArray();
    return sorted.length == 0 ? Double.NaN : sorted[sorted.length / 2];
  }

  /** The mean over the same steps: for the time of the CPU, which is told in hundredths of a second. */
  double mean(ToDoubleFunction<Row> of) {
    return warm().mapToDouble(of).average().orElse(Double.NaN);
  }

  private Stream<Row> warm() {
    return rows.stream().skip(rows.size() > 6 ? 3 : 0);
  }
}
