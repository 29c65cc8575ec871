// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * The time of a boundary in one pass, beside the same work in more operations and beside the copy of as many bytes, all
 * of them measured in turns.
 */
public final class BoundaryTimes {
  private static final String COPY = "copy";

  private static final String FUSED = "single pass";
  private static final String TWO = "two passes";
  private static final String THREE = "three operations";
  private static final String FIVE = "five operations (Table 2)";
  private static final String BACKWARD = ", and backward";

  private final Map<String, Spread> times;
  private final double copyRate;
  private final long unit;
  private final int n;

  private BoundaryTimes(Map<String, Spread> times, double copyRate, long unit, int n) {
    this.times = times;
    this.copyRate = copyRate;
    this.unit = unit;
    this.n = n;
  }

  /** Measures, in about as many seconds. */
  public static BoundaryTimes measure(Device device, HyperConnectionConfig config, DType type, long tokens, long width,
      double seconds) {
    try (var boundary = new BoundaryCase(device, config, type, tokens, width, 256L << 20);
        var limits = new Limits(device.threads())) {
      var rounds = new Rounds().add(COPY, limits::stream)
          .add(FUSED, forward(boundary, BoundaryCase::boundary))
          .add(TWO, forward(boundary, BoundaryCase::twoPasses))
          .add(THREE, forward(boundary, BoundaryCase::threeKernels))
          .add(FIVE, forward(boundary, BoundaryCase::unfused))
          .add(FUSED + BACKWARD, both(boundary, BoundaryCase::boundary, BoundaryCase::boundaryBackward))
          .add(THREE + BACKWARD, both(boundary, BoundaryCase::threeKernels, BoundaryCase::threeKernelsBackward));
      Map<String, Spread> times = rounds.run(3, 31, seconds);
      return new BoundaryTimes(times, 2.0 * Limits.BYTES / times.get(COPY).median(), boundary.unit(), config.streams());
    }
  }

  private static Rounds.Contestant forward(BoundaryCase boundary, BiConsumer<BoundaryCase, BoundaryCase.Set> work) {
    return Rounds.Contestant.of(() -> work.accept(boundary, boundary.rotate()));
  }

  /** Forward and backward. What would come from the layers behind in a stack is made between them, and does not count. */
  static Rounds.Contestant both(BoundaryCase boundary, BiConsumer<BoundaryCase, BoundaryCase.Set> forward,
      BiConsumer<BoundaryCase, BoundaryCase.Set> backward) {
    return () -> {
      BoundaryCase.Set on = boundary.rotate();
      long start = System.nanoTime();
      forward.accept(boundary, on);
      long middle = System.nanoTime();
      boundary.receiveCoefficientGradients();
      long again = System.nanoTime();
      backward.accept(boundary, on);
      return System.nanoTime() - again + middle - start;
    };
  }

  /** Bytes a second that a copy reads and writes. */
  public double copyRate() {
    return copyRate;
  }

  /** Median time of the single pass, in seconds. */
  public double fused() {
    return times.get(FUSED).median();
  }

  /** Median time of the single pass, forward and backward, in seconds. */
  public double fusedWithBackward() {
    return times.get(FUSED + BACKWARD).median();
  }

  /** The times for people. */
  public String table() {
    var table = new Table("boundary", "ms [min .. max]", "moves", "at copy rate", "ratio", "single pass is");
    row(table, FUSED, 2 * n + 2, FUSED);
    row(table, TWO, 3 * n + 2, FUSED);
    row(table, THREE, 4 * n + 2, FUSED);
    row(table, FIVE, 8 * n + 3, FUSED);
    row(table, FUSED + BACKWARD, 2 * n + 2 + 3 * n + 3, FUSED + BACKWARD);
    row(table, THREE + BACKWARD, 4 * n + 2 + 9 * n + 3, FUSED + BACKWARD);
    return table.toString();
  }

  private void row(Table table, String name, int elements, String reference) {
    Spread time = times.get(name);
    double floor = elements * unit / copyRate;
    double factor = time.median() / times.get(reference).median();
    table.row(name, time.milliseconds(), elements + "C", String.format(Locale.ROOT, "%.2f ms", floor * 1e3),
        String.format(Locale.ROOT, "%.2f", time.median() / floor),
        name.equals(reference) ? "" : String.format(Locale.ROOT, "%.2fx faster", factor));
  }

  /** The copy rate for people. */
  public String copyLine() {
    return String.format(Locale.ROOT, "copy of %d MiB past the caches: %.1f GB/s read and written, median of %d", Limits.BYTES >> 20,
        copyRate * 1e-9, times.get(COPY).count());
  }
}
