// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.bench.calls.CallCost;
import dev.mhc.bench.operations.OperationBenchmark;
import dev.mhc.bench.report.Comparison;
import dev.mhc.bench.report.Measurement;
import dev.mhc.bench.report.Paired;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What noise cannot change: that results are right, that bytes are those of the ledger, that a call allocates nothing,
 * that the fused boundary is faster than the same work in five operations, and that a product is as fast from Java as from C.
 */
final class ShortProfile {
  private static final int STREAMS = 4;
  private static final int TOKENS = 3;
  private static final int WIDTH = 64;
  private static final int CALLS = 5_000;

  private final PrintStream out;
  private int broken;

  ShortProfile(PrintStream out) {
    this.out = out;
  }

  /** How many of these do not hold. */
  int run() {
    for (Suite.Benchmark benchmark : Suite.benchmarks()) {
      ledger(benchmark);
      allocation(benchmark);
    }
    fused();
    product();
    out.printf("%s%n", broken == 0 ? "All hold." : broken + " do not hold.");
    return broken;
  }

  private void ledger(Suite.Benchmark benchmark) {
    Measurement.Ledger ledger = Suite.ledger(benchmark, Map.of());
    if (ledger != null) {
      say(ledger.holds(), "%s loads and stores %.4g C a token; expected %.4g", benchmark.name(), ledger.counted(),
          ledger.moved());
    }
  }

  private void allocation(Suite.Benchmark benchmark) {
    OperationBenchmark state = benchmark.state();
    state.tokens = TOKENS;
    state.width = WIDTH;
    state.inCaches();
    state.setUp(Devices.open("cpu", 1));
    try {
      Runnable call = benchmark.call(state);
      double bytes = CallCost.allocated(count -> {
        for (long i = 0; i < count; i++) {
          call.run();
        }
      }, CALLS);
      say(bytes == 0, "%s allocates %.3f bytes a call", benchmark.name(), bytes);
    } finally {
      Suite.close(state);
    }
  }

  private void fused() {
    try (Device device = Device.cpu();
        var boundary = new BoundaryCase(device, Preset.PAPER.config(STREAMS), DType.BF16, 512, 2048, 256L << 20)) {
      Map<String, Spread> times = new Rounds()
          .add("fused", Rounds.Contestant.of(() -> boundary.boundary(boundary.rotate())))
          .add("unfused", Rounds.Contestant.of(() -> boundary.unfused(boundary.rotate()))).run(3, 51, 20);
      double ratio = times.get("unfused").median() / times.get("fused").median();
      say(ratio > 1, "one pass is %.2f times as fast as five operations, T=512 C=2048", ratio);
    }
  }

  /** At 95 % of the speed in C, or nobody could tell: a slower one is broken where it is so for certain. */
  private void product() {
    List<Comparison.Entry> times = CallCost.product(64, 1, 6).entries();
    Paired ratio = Paired.ratio(times.getFirst().seconds(), times.getLast().seconds());
    say(ratio.low() <= 1 / 0.95, "a product of [64, 1024] by [1024, 1024] takes %.3f times as long from Java as from C (%.3f to %.3f)",
        ratio.median(), ratio.low(), ratio.high());
  }

  private void say(boolean holds, String format, Object... values) {
    if (!holds) {
      broken++;
    }
    out.printf("%-7s %s%n", holds ? "holds" : "BROKEN", String.format(Locale.ROOT, format, values));
  }
}
