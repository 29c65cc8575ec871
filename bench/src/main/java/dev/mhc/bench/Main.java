// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Device;
import dev.mhc.bench.calls.CallCost;
import dev.mhc.bench.calls.StartUp;
import dev.mhc.bench.report.Compare;
import dev.mhc.bench.report.Comparison;
import dev.mhc.bench.report.Machine;
import dev.mhc.bench.report.Measurement;
import dev.mhc.bench.report.Page;
import dev.mhc.bench.report.Results;
import dev.mhc.bench.report.Tables;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;

/** The suite's command line. */
@Command(name = "mhc-bench", mixinStandardHelpOptions = false, sortOptions = false, usageHelpWidth = 110,
    description = {"Measures mhc on this machine: every operation beside what the machine can do, beside the same work in"
        + " more operations, beside other libraries, and the cost of calling it from Java. Results are checked first.", ""},
    footer = {"", "Exit status: 0 all was measured; 1 something failed or got slower; 2 the command line is wrong."})
public final class Main implements Callable<Integer> {
  @Parameters(paramLabel = "FILTER", description = "Regular expressions: what has one of them in its name is measured, the"
      + " limits in any case. Names are those that --list prints. Default: all.")
  private List<String> filters = new ArrayList<>();

  @Option(names = "--profile", paramLabel = "NAME",
      description = "short (what noise cannot change; for CI), standard (default), full (every shape and type).")
  private Profile profile = Profile.STANDARD;

  @Option(names = "-p", paramLabel = "NAME=VALUE,...",
      description = "Parameters of the benchmarks, instead of the profile's: threads (0: all), tokens, streams, width,"
          + " dtype (BF16, FP16, FP32), layers (of a stack), device (cpu).")
  private Map<String, String> parameters = new LinkedHashMap<>();

  @Option(names = "--out", paramLabel = "FILE", description = "Writes FILE.json, FILE.html and FILE.md.")
  private Path out;

  @Option(names = "--page", paramLabel = "FILE.json", description = "Measures nothing; makes FILE.html and FILE.md anew.")
  private Path page;

  @Option(names = "--compare", arity = "2", paramLabel = "FILE.json",
      description = "Measures nothing; tells what got slower from the first results to the second, beyond noise.")
  private List<Path> compared;

  @Option(names = {"-l", "--list"}, description = "Measures nothing; prints the names.")
  private boolean list;

  @Option(names = {"-h", "--help"}, usageHelp = true, description = "This text.")
  private boolean help;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec;

  private final PrintStream screen = System.out;

  /** What is measured in turns, without JMH: its name, the seconds it should take, and how. */
  private record Turns(String name, double seconds, Callable<List<Comparison>> work) {}

  /** Runs the command line. */
  public static void main(String... arguments) {
    System.exit(command().execute(arguments));
  }

  static CommandLine command() {
    return new CommandLine(new Main()).setCaseInsensitiveEnumValuesAllowed(true);
  }

  @Override
  public Integer call() throws Exception {
    filters.forEach(this::checkFilter);
    parameters.forEach(this::checkParameter);
    if (list) {
      Suite.benchmarks().forEach(benchmark -> screen.println(benchmark.name()));
      turns().forEach(each -> screen.println(each.name()));
      screen.println("memory");
      return 0;
    }
    if (compared != null) {
      List<Compare.Line> lines = Compare.of(read(compared.get(0)), read(compared.get(1)));
      screen.print(Compare.table(lines));
      return Compare.isWorse(lines) ? 1 : 0;
    }
    if (page != null) {
      write(read(page), page);
      return 0;
    }
    if (profile == Profile.SHORT) {
      return new ShortProfile(screen).run() == 0 ? 0 : 1;
    }
    Results results = measure();
    screen.println();
    screen.print(Tables.operations(results));
    results.comparisons().forEach(each -> screen.print(System.lineSeparator() + Tables.comparison(each)));
    if (out != null) {
      Path json = Path.of(out + ".json");
      Files.createDirectories(json.toAbsolutePath().getParent());
      results.write(json);
      write(results, json);
    }
    results.failures().forEach(failure -> screen.println("FAILED: " + failure));
    return results.failures().isEmpty() ? 0 : 1;
  }

  private void checkFilter(String filter) {
    try {
      Pattern.compile(filter);
    } catch (PatternSyntaxException e) {
      throw new ParameterException(spec.commandLine(), "FILTER is \"" + filter + "\"; expected a regular expression: "
          + e.getDescription());
    }
    boolean known = java.util.stream.Stream.concat(Suite.benchmarks().stream().map(Suite.Benchmark::name),
        java.util.stream.Stream.concat(turns().stream().map(Turns::name), java.util.stream.Stream.of("memory")))
        .anyMatch(name -> Pattern.compile(filter).matcher(name).find());
    if (!known) {
      throw new ParameterException(spec.commandLine(), "FILTER is \"" + filter + "\", which nothing has in its name;"
          + " --list prints the names");
    }
  }

  private void checkParameter(String name, String values) {
    String expected = switch (name) {
      case "layers" -> values.matches("[1-9]\\d{0,2}(,[1-9]\\d{0,2})*") ? "" : "numbers from 1 to 999";
      case "threads" -> values.matches("\\d{1,4}(,\\d{1,4})*") ? "" : "numbers from 0";
      case "tokens", "width" -> values.matches("[1-9]\\d{0,6}(,[1-9]\\d{0,6})*") ? "" : "numbers from 1 to 9999999";
      case "streams" -> values.matches("([1-9]|1[0-6])(,([1-9]|1[0-6]))*") ? "" : "numbers from 1 to 16";
      case "dtype" -> values.matches("(BF16|FP16|FP32)(,(BF16|FP16|FP32))*") ? "" : "BF16, FP16 or FP32";
      case "device" -> values.equals("cpu") ? "" : "cpu";
      default -> throw new ParameterException(spec.commandLine(),
          "-p " + name + " is no parameter; expected threads, tokens, streams, width, dtype, layers or device");
    };
    if (!expected.isEmpty()) {
      throw new ParameterException(spec.commandLine(), "-p " + name + " is \"" + values + "\"; expected " + expected);
    }
  }

  private Results read(Path file) {
    try {
      return Results.read(file);
    } catch (java.nio.file.NoSuchFileException e) {
      throw new ParameterException(spec.commandLine(), "there is no file " + file);
    } catch (IOException e) {
      throw new ParameterException(spec.commandLine(), e.getMessage());
    }
  }

  private void write(Results results, Path json) throws IOException {
    String base = json.toString().replaceFirst("\\.json$", "");
    Files.writeString(Path.of(base + ".html"), Page.of(results));
    Files.writeString(Path.of(base + ".md"), Tables.markdown(results));
    screen.println("Written: " + base + ".json, .html, .md");
  }

  private boolean wanted(String name) {
    return filters.isEmpty() || filters.stream().anyMatch(filter -> Pattern.compile(filter).matcher(name).find());
  }

  private Results measure() throws Exception {
    List<Profile.Part> parts = parameters.isEmpty() ? profile.parts : List.of(new Profile.Part("", Map.of()).with(parameters));
    List<Options> plan = Suite.plan(parts, filters);
    List<Turns> turns = turns().stream().filter(each -> wanted(each.name())).toList();
    boolean memory = wanted("memory");
    double expected = Suite.ROUNDS * plan.stream().mapToDouble(Suite::expected).sum() + turns.stream().mapToDouble(Turns::seconds).sum()
        + (memory ? 20 : 0);
    var progress = new Progress(screen, expected);
    Machine machine = Machine.current();
    var failures = new ArrayList<String>();
    var measurements = benchmarks(plan, progress, failures);
    var comparisons = new ArrayList<Comparison>();
    for (Turns each : turns) {
      try {
        comparisons.addAll(each.work().call());
        progress.done(each.seconds(), each.name());
      } catch (Exception | LinkageError e) { // a library that does not load here ends nothing but its own comparison
        failures.add(each.name() + ": " + reason(e));
      }
    }
    var steps = new ArrayList<TrainingMemory.Step>();
    if (memory) {
      try (Device device = Device.cpu(); var training = new TrainingMemory(device, 30, 256, 1280)) {
        steps.addAll(training.measure(1, 2, 3, 4, 5, 6, 8, 10, 15, 30));
      }
      progress.done(20, "memory");
    }
    return new Results(machine.atTheEnd(), measurements, comparisons, steps, failures);
  }

  /** What began it: of a class whose initialization failed the rest says nothing. */
  private static Throwable reason(Throwable failure) {
    return failure.getCause() == null ? failure : reason(failure.getCause());
  }

  private List<Measurement> benchmarks(List<Options> plan, Progress progress, List<String> failures)
      throws RunnerException {
    List<Measurement> measurements = new Suite().run(plan, progress);
    failures.addAll(progress.failures());
    measurements.stream().filter(m -> m.ledger() != null && !m.ledger().holds())
        .forEach(m -> failures.add(m.key() + " loads and stores " + m.ledger().counted() + " C a token; expected "
            + m.ledger().moved()));
    return measurements;
  }

  private static List<Turns> turns() {
    var all = new ArrayList<Turns>();
    all.add(new Turns("calls", 80, () -> {
      var made = new ArrayList<Comparison>();
      made.add(CallCost.noArguments(5));
      for (int threads : new int[] {1, 0}) {
        for (long tokens : new long[] {1, 64, 2048}) {
          made.add(CallCost.boundary(tokens, threads, 6));
        }
        for (long tokens : new long[] {1, 64, 512}) {
          made.add(CallCost.product(tokens, threads, 4));
        }
      }
      return made;
    }));
    all.add(new Turns("startup", 40, () -> List.of(StartUp.measure(30))));
    for (Peer peer : ServiceLoader.load(Peer.class)) {
      all.add(new Turns("peer " + peer.name(), 60, () -> PeerTimes.measure(peer)));
    }
    return all;
  }
}
