// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import com.sun.management.ThreadMXBean;
import dev.mhc.CpuOptions;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Preset;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What Java costs: the same boundary, on the same memory, called from Java and from a loop in C, in turns; and the bytes
 * that a call from Java allocates. {@code java ... dev.mhc.bench.CallOverhead path/to/libmhc_repeat.so [FILE.json]}
 */
public final class CallOverhead {
  private static final long[] TOKENS = {1, 64, 2048};
  private static final long WIDTH = 2048;
  private static final double SECONDS = 8;

  private CallOverhead() {}

  /** Seconds of one call, from C and from Java, and what the latter allocates. */
  private record Row(long tokens, int threads, Spread inC, Spread inJava, double allocated) {
    double difference() {
      return inJava.median() - inC.median();
    }

    String json() {
      return String.format(Locale.ROOT,
          "{\"tokens\": %d, \"width\": %d, \"threads\": %d, \"c\": %.4g, \"java\": %.4g, \"bytesPerCall\": %.3f}", tokens,
          WIDTH, threads, inC.median(), inJava.median(), allocated);
    }

    void addTo(Table table) {
      table.row("T=" + tokens + ", " + threads + (threads == 1 ? " thread" : " threads"), microseconds(inC),
          microseconds(inJava), String.format(Locale.ROOT, "%.0f ns", difference() * 1e9),
          String.format(Locale.ROOT, "%+.2f %%", 100 * difference() / inC.median()),
          String.format(Locale.ROOT, "%.3f", allocated));
    }
  }

  /** Measures and prints. */
  public static void main(String... arguments) throws IOException {
    if (arguments.length < 1 || arguments.length > 2) {
      System.err.println("usage: dev.mhc.bench.CallOverhead path/to/libmhc_repeat.so [FILE.json]");
      System.exit(2);
    }
    var rows = new ArrayList<Row>();
    for (int threads : new int[] {1, 0}) {
      try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(threads))) {
        for (long tokens : TOKENS) {
          rows.add(measure(device, tokens, Path.of(arguments[0]).toAbsolutePath()));
        }
      }
    }
    var table = new Table("tokens", "from C, us [min .. max]", "from Java", "Java - C", "", "bytes a call");
    rows.forEach(row -> row.addTo(table));
    System.out.print(table);
    if (arguments.length == 2) {
      Files.writeString(Path.of(arguments[1]),
          rows.stream().map(Row::json).collect(Collectors.joining(",\n  ", "[\n  ", "\n]\n")));
    }
  }

  private static Row measure(Device device, long tokens, Path library) {
    try (var boundary = new BoundaryCase(device, Preset.PAPER.config(4), DType.BF16, tokens, WIDTH, 0)) {
      boundary.boundary(boundary.first());
      try (var c = new FromC(library, boundary, device.threads())) {
        fromJava(boundary, 20_000 / Math.min(tokens, 200)); // compiled before anything counts
        long count = Math.max(1, (long) (5e6 / (c.run(1) + 1))); // 5 ms at a time
        Map<String, Spread> times = new Rounds().add("c", () -> c.run(count))
            .add("java", () -> fromJava(boundary, count)).run(20, 1001, SECONDS);
        return new Row(tokens, device.threads(), times.get("c").over(count), times.get("java").over(count),
            allocated(boundary, count));
      }
    }
  }

  private static long fromJava(BoundaryCase boundary, long count) {
    BoundaryCase.Set on = boundary.first();
    long start = System.nanoTime();
    for (long i = 0; i < count; i++) {
      boundary.current().boundary(on.x(), on.f(), boundary.next(), on.xNext(), on.h());
    }
    return System.nanoTime() - start;
  }

  private static double allocated(BoundaryCase boundary, long count) {
    var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    fromJava(boundary, count);
    return (threads.getCurrentThreadAllocatedBytes() - before) / (double) count;
  }

  private static String microseconds(Spread time) {
    return String.format(Locale.ROOT, "%.2f [%.2f .. %.2f]", time.median() * 1e6, time.min() * 1e6, time.max() * 1e6);
  }
}
