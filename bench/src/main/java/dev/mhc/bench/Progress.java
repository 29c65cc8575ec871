// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.io.PrintStream;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.format.OutputFormat;

/** A line for each thing that was measured, with the time that is left: of JMH, and of what is measured without it. */
public final class Progress implements OutputFormat {
  private final PrintStream out;
  private final double expected; // seconds, by what each part thinks
  private final Set<String> failures = new LinkedHashSet<>();
  private double done;
  private String current = "";
  private final long start = System.nanoTime();

  /** Of work that should take so many seconds. */
  public Progress(PrintStream out, double expected) {
    this.out = out;
    this.expected = expected;
  }

  /** Something that should have taken so many seconds is done. */
  public void done(double seconds, String words) {
    done += seconds;
    double elapsed = (System.nanoTime() - start) * 1e-9;
    double left = Math.max(0, expected - done) * elapsed / done;
    out.printf(Locale.ROOT, "%3.0f %%, %2.0f:%02.0f left   %s%n", 100 * Math.min(1, done / expected),
        Math.floor(left / 60), Math.floor(left % 60), words);
  }

  /** Seconds that a benchmark should take, with what goes before and after its iterations. */
  public static double expected(BenchmarkParams benchmark) {
    double warmUp = benchmark.getWarmup().getCount() * seconds(benchmark.getWarmup());
    double measured = benchmark.getMeasurement().getCount() * seconds(benchmark.getMeasurement());
    return Math.max(1, benchmark.getForks()) * (1.2 + warmUp + measured);
  }

  private static double seconds(IterationParams iteration) {
    return iteration.getTime().convertTo(java.util.concurrent.TimeUnit.MILLISECONDS) * 1e-3;
  }

  @Override
  public void endBenchmark(BenchmarkResult result) {
    if (result != null) {
      BenchmarkParams benchmark = result.getParams();
      done(expected(benchmark), String.format(Locale.ROOT, "%12.2f us   %s", result.getPrimaryResult().getScore() * 1e-3,
          label(benchmark)));
    }
  }

  private static String label(BenchmarkParams benchmark) {
    var label = new StringBuilder(Suite.name(benchmark.getBenchmark()));
    for (String key : benchmark.getParamsKeys()) {
      label.append(' ').append(key).append('=').append(benchmark.getParam(key));
    }
    return label.toString();
  }

  /** What JMH says apart from results: failures alone matter. */
  @Override
  public void println(String words) {
    if (words.contains("<failure>")) {
      failures.add(current);
      out.println("FAILED: " + current);
    } else if (words.contains("Exception") || words.startsWith("\tat dev.mhc")) {
      out.println(words);
    }
  }

  /** Benchmarks that failed. */
  public List<String> failures() {
    return List.copyOf(failures);
  }

  @Override
  public void print(String words) {}

  @Override
  public void startRun() {}

  @Override
  public void endRun(Collection<RunResult> results) {}

  @Override
  public void startBenchmark(BenchmarkParams benchmark) {
    current = label(benchmark);
  }

  @Override
  public void iteration(BenchmarkParams benchmark, IterationParams iteration, int number) {}

  @Override
  public void iterationResult(BenchmarkParams benchmark, IterationParams iteration, int number, IterationResult data) {}

  @Override
  public void verbosePrintln(String words) {}

  @Override
  public void write(int value) {}

  @Override
  public void write(byte[] values) {}

  @Override
  public void flush() {
    out.flush();
  }

  @Override
  public void close() {}
}
