// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.CpuOptions;
import dev.mhc.CpuTier;
import dev.mhc.Device;
import dev.mhc.Traffic;
import dev.mhc.bench.operations.OperationBenchmark;
import dev.mhc.bench.report.Measurement;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.BenchmarkList;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/** The JMH benchmarks: which there are, running them, and what their results mean. */
public final class Suite {
  private static final String ALL = "dev\\.mhc\\.bench\\.operations\\..*";
  private static final Pattern CLASS = Pattern.compile(".*\\.(\\w+)Benchmark\\.(\\w+)");
  /** Processes of each benchmark. */
  static final int ROUNDS = 3;

  private static final Map<String, String> COUNTED = Map.of("tokens", "24", "width", "256", "threads", "1");

  private final Map<String, Measurement.Ledger> ledgers = new LinkedHashMap<>();

  /** One of the benchmarks: the method of a class. */
  public record Benchmark(String name, Class<? extends OperationBenchmark> type, String method) {
    /** A new state, not set up. */
    public OperationBenchmark state() {
      try {
        return type.getConstructor().newInstance();
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(type + " cannot be made", e);
      }
    }

    /** The method on a state. */
    public Runnable call(OperationBenchmark on) {
      try {
        var handle = java.lang.invoke.MethodHandles.publicLookup().bind(on, method,
            java.lang.invoke.MethodType.methodType(void.class));
        return java.lang.invoke.MethodHandleProxies.asInterfaceInstance(Runnable.class, handle);
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(name + " cannot be called", e);
      }
    }
  }

  /** "boundary.forward" of a class BoundaryBenchmark with a method forward. */
  public static String name(String jmhName) {
    var matcher = CLASS.matcher(jmhName);
    if (!matcher.matches()) {
      throw new IllegalArgumentException("benchmark is " + jmhName + "; expected ...Benchmark.method");
    }
    String type = matcher.group(1);
    return Character.toLowerCase(type.charAt(0)) + type.substring(1) + "." + matcher.group(2);
  }

  private static List<String> jmhNames() {
    return BenchmarkList.defaultList().find(OutputFormatFactory.createFormatInstance(System.out, VerboseMode.SILENT),
        List.of(ALL), List.of()).stream().map(entry -> entry.getUsername()).distinct().toList();
  }

  /** All benchmarks of operations. */
  public static List<Benchmark> benchmarks() {
    var found = new ArrayList<Benchmark>();
    for (String jmh : jmhNames()) {
      try {
        Class<?> type = Class.forName(jmh.substring(0, jmh.lastIndexOf('.')));
        if (OperationBenchmark.class.isAssignableFrom(type)) {
          found.add(new Benchmark(name(jmh), type.asSubclass(OperationBenchmark.class),
              jmh.substring(jmh.lastIndexOf('.') + 1)));
        }
      } catch (ClassNotFoundException e) {
        throw new IllegalStateException(e);
      }
    }
    return found;
  }

  // ------------------------------------------------------------------------------------------------ running

  /** What JMH has to run for some parts, of the benchmarks that have a name which one of the filters is found in. */
  public static List<Options> plan(List<Profile.Part> parts, List<String> filters) {
    var planned = new ArrayList<Options>();
    var threads = new LinkedHashSet<String>();
    for (Profile.Part part : parts) {
      String[] names = jmhNames().stream().filter(jmh -> !name(jmh).startsWith("limit."))
          .filter(jmh -> Pattern.compile(part.names()).matcher(name(jmh)).find())
          .filter(jmh -> filters.isEmpty()
              || filters.stream().anyMatch(filter -> Pattern.compile(filter).matcher(name(jmh)).find()))
          .toArray(String[]::new);
      if (names.length > 0) {
        planned.add(options(names, part.parameters()));
        threads.addAll(Arrays.asList(part.parameters().getOrDefault("threads", new String[] {"0"})));
      }
    }
    if (!planned.isEmpty()) {
      String[] limits = jmhNames().stream().filter(jmh -> name(jmh).startsWith("limit.")).toArray(String[]::new);
      planned.add(0, options(limits, Map.of("threads", threads.toArray(String[]::new))));
    }
    return planned;
  }

  private static Options options(String[] names, Map<String, String[]> parameters) {
    var builder = new OptionsBuilder().forks(1); // a round's; the annotation says how many JMH alone would start in a row
    for (String name : names) {
      builder.include("^" + Pattern.quote(name) + "$");
    }
    parameters.forEach(builder::param);
    return builder.build();
  }

  /** Seconds that a round of options should take: JMH finds out by itself what they consist of. */
  public static double expected(Options options) {
    int cases = options.getIncludes().stream().mapToInt(include -> cases(options, include)).sum();
    return cases * (1.2 + 0.4 + 0.9); // a fork of what OperationBenchmark says
  }

  /** How many values the parameters of a benchmark have together. */
  private static int cases(Options options, String include) {
    String name = include.substring("^\\Q".length(), include.length() - "\\E$".length());
    try {
      int cases = 1;
      for (Field field : Class.forName(name.substring(0, name.lastIndexOf('.'))).getFields()) {
        var values = options.getParameter(field.getName());
        cases *= field.isAnnotationPresent(Param.class) && values.hasValue() ? values.get().size() : 1;
      }
      return cases;
    } catch (ClassNotFoundException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Runs a plan in {@value #ROUNDS} rounds, in each of them one process for each benchmark. The processes of a benchmark are its
   * independent samples, so they have to be as far apart as two runs are: what else the machine does comes and goes in minutes.
   */
  public List<Measurement> run(List<Options> plan, Progress progress) throws RunnerException {
    var measured = new LinkedHashMap<String, Measurement>();
    for (int round = 0; round < ROUNDS; round++) {
      var seen = new HashSet<String>(); // parts of a plan may overlap
      for (Options options : plan) {
        for (RunResult result : new Runner(options, progress).run()) {
          Measurement one = measurement(result);
          if (seen.add(one.key())) {
            measured.merge(one.key(), one, Measurement::with);
          }
        }
      }
    }
    return List.copyOf(measured.values());
  }

  private Measurement measurement(RunResult result) {
    BenchmarkParams params = result.getParams();
    var parameters = new LinkedHashMap<String, String>();
    for (String key : params.getParamsKeys()) {
      parameters.put(key, params.getParam(key));
    }
    double[][] seconds = result.getBenchmarkResults().stream().map(Suite::seconds).toArray(double[][]::new);
    String name = name(params.getBenchmark());
    if (name.startsWith("limit.")) {
      return new Measurement(name, parameters, seconds, limit(name, parameters.get("threads")), null);
    }
    Benchmark benchmark = benchmarks().stream().filter(b -> b.name().equals(name)).findFirst().orElseThrow();
    OperationBenchmark state = benchmark.state();
    state.set(parameters);
    var counted = new LinkedHashMap<>(parameters);
    COUNTED.keySet().forEach(counted::remove);
    return new Measurement(name, parameters, seconds, state.cost(benchmark.method()),
        ledgers.computeIfAbsent(name + counted, key -> ledger(benchmark, counted)));
  }

  private static double[] seconds(BenchmarkResult fork) {
    return fork.getIterationResults().stream().mapToDouble(Suite::seconds).toArray();
  }

  private static double seconds(IterationResult iteration) {
    return iteration.getPrimaryResult().getScore() * 1e-9;
  }

  private static Cost limit(String name, String threads) {
    return switch (name) {
      case "limit.read" -> new Cost(Limits.BYTES, 0, 0, 0, 0);
      case "limit.multiplyAdds" -> {
        try (Device device = Devices.open("cpu", Integer.parseInt(threads));
            var limits = new Limits(device.threads())) {
          yield new Cost(0, 0, 0, 0, limits.multiplyAddCount());
        }
      }
      default -> new Cost(Limits.BYTES, Limits.BYTES, 0, 0, 0);
    };
  }

  // ------------------------------------------------------------------------------------------------ counting

  /**
   * Loads and stores of a benchmark, by a device that counts them, beside what they should be; null if it has no rows.
   *
   * @param parameters of the benchmark, apart from tokens, width and threads, which make no difference
   */
  public static Measurement.Ledger ledger(Benchmark benchmark, Map<String, String> parameters) {
    OperationBenchmark state = benchmark.state();
    state.set(parameters);
    state.set(COUNTED);
    Cost cost = state.cost(benchmark.method());
    double rows = cost.rowsRead() + cost.rowsWritten();
    if (rows == 0) {
      return null;
    }
    state.inCaches();
    state.setUp(Device.cpu(new CpuOptions(1, CpuTier.COUNTING)));
    try {
      Traffic counted = state.count(benchmark.call(state));
      double unit = (double) state.tokens * state.width * state.dtype.bytes();
      return new Measurement.Ledger(rows / unit,
          (counted.rowBytesRead() + counted.rowBytesWritten()) / unit);
    } finally {
      close(state);
    }
  }

  /** Ends a state. */
  public static void close(OperationBenchmark state) {
    try {
      state.tearDown();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
