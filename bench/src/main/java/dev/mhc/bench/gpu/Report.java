// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonSyntaxException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes one file and its tables of what several runs of gpu-check left: {@code Report [--readme FILE] [--out BASE] FOLDER...}.
 *
 * <p>BASE.json has all of it, BASE.md every figure and step; BASE is {@code <gpu>-<date>} unless it is given. The table of the
 * boundary's operations at C = 4096 takes the place of what is between the two marks in the readme, if it is a GPU's.
 */
public final class Report {
  static final String BEGIN = "<!-- GPU figures, by scripts/gpu-report -->";
  static final String END = "<!-- end of GPU figures -->";

  /** PyTorch's boundary. */
  record Peer(String peer, String operation, long tokens, long width, @Nullable Double microseconds, @Nullable Double least,
      @Nullable Double most, @Nullable String problem) {}

  /** What gpu-check did. */
  record Step(String step, String outcome, int seconds, String note) {}

  /** One command of it. */
  record Run(String run, String commit, String gpu, String date, List<Step> steps) {}

  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().setPrettyPrinting().create();

  /** All runs; the figures of each with the machine and the copy bandwidth of its own. */
  record Results(List<Run> runs, List<Figures> figures, List<Peer> peers) {}

  private record Peers(List<Peer> peers) {}

  private Report() {}

  /** Writes the files, and prints their names; exits with 1 where there are no figures. */
  public static void main(String... arguments) throws IOException {
    Path readme = null;
    Path base = null;
    var folders = new ArrayList<Path>();
    for (int i = 0; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "--readme" -> readme = Path.of(arguments[++i]);
        case "--out" -> base = Path.of(arguments[++i]);
        default -> folders.add(Path.of(arguments[i]));
      }
    }
    Results results = read(folders);
    if (results.figures.isEmpty()) {
      System.err.println("no figures-*.json in " + folders);
      System.exit(1);
    }
    Path name = base == null ? Path.of(name(results)) : base;
    write(results, name);
    System.out.println(name + ".json, " + name + ".md");
    if (readme != null && isGpu(results)) {
      Files.writeString(readme, inserted(Files.readString(readme), summary(results)));
      System.out.println(readme);
    }
  }

  // ------------------------------------------------------------------------------------------------ reading

  static Results read(List<Path> folders) throws IOException {
    var results = new Results(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    for (Path folder : folders) {
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.filter(each -> each.toString().endsWith(".json")).sorted().toList()) {
          read(file, results);
        }
      }
    }
    return results;
  }

  private static void read(Path file, Results results) throws IOException {
    try {
      String text = Files.readString(file);
      JsonObject json = GSON.fromJson(text, JsonObject.class);
      if (json.has("rows")) {
        results.figures.add(GSON.fromJson(text, Figures.class));
      } else if (json.has("peers")) {
        results.peers.addAll(GSON.fromJson(text, Peers.class).peers);
      } else if (json.has("steps")) {
        results.runs.add(GSON.fromJson(text, Run.class));
      }
    } catch (JsonSyntaxException e) {
      throw new IOException(file + " is none of gpu-check's files: " + e.getMessage(), e);
    }
  }

  // ------------------------------------------------------------------------------------------------ writing

  static void write(Results results, Path base) throws IOException {
    if (base.toAbsolutePath().getParent() != null) {
      Files.createDirectories(base.toAbsolutePath().getParent());
    }
    Files.writeString(Path.of(base + ".json"), GSON.toJson(results) + "\n");
    Files.writeString(Path.of(base + ".md"), page(results));
  }

  private static Map<String, Object> machine(Results results) {
    return results.figures.get(0).machine();
  }

  private static String gpu(Results results) {
    return String.valueOf(machine(results).get("gpu"));
  }

  /** Not the executor, on which gpu-check is tried. */
  static boolean isGpu(Results results) {
    return results.figures.stream().noneMatch(run -> String.valueOf(run.machine().get("gpu")).startsWith("executor"));
  }

  static String name(Results results) {
    return gpu(results).toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-") + "-" + machine(results).get("date");
  }

  /** Everything. */
  static String page(Results results) {
    var text = new StringBuilder("<!-- SPDX-License-Identifier: Apache-2.0 -->\n# " + gpu(results) + "\n\n");
    if (!isGpu(results)) {
      text.append("**Kernels on the CPU and stand-ins for NVIDIA's libraries: no figure here is a GPU's.**\n\n");
    }
    text.append(sentence(results)).append("\n\n").append(kernels(rows(results))).append('\n').append(products(rows(results)));
    if (!results.peers.isEmpty()) {
      text.append("\n## PyTorch\n\n").append(peers(results, results.peers));
    }
    for (Run run : results.runs) {
      text.append("\n## gpu-check ").append(run.run).append("\n\n").append(steps(run));
    }
    return text.toString();
  }

  /** What the readme has of it. */
  static String summary(Results results) {
    List<Figures.Row> some = rows(results).stream()
        .filter(row -> row.width() == 4096 && row.tokens() >= 64 && row.bytes() != null)
        .filter(row -> row.operation().startsWith("boundary") || row.operation().equals("coefficients")
            || row.operation().equals("pre") || row.operation().equals("post"))
        .toList();
    return sentence(results) + "\n\n" + kernels(some) + "\n"
        + peers(results, results.peers.stream().filter(peer -> peer.problem == null).toList());
  }

  /** The text with what is new between the marks. */
  static String inserted(String text, String table) {
    Matcher place = Pattern.compile(Pattern.quote(BEGIN) + ".*?" + Pattern.quote(END), Pattern.DOTALL).matcher(text);
    if (!place.find()) {
      throw new IllegalArgumentException("the readme has no place for the table: " + BEGIN + " ... " + END);
    }
    return place.replaceFirst(Matcher.quoteReplacement(BEGIN + "\n" + table.strip() + "\n" + END));
  }

  private static String sentence(Results results) {
    Map<String, Object> machine = machine(results);
    String copies = results.figures.stream().map(run -> decimal(0, run.copyGigabytesPerSecond()))
        .collect(Collectors.joining(", "));
    return gpu(results) + Stream.of("driver", "mhc", "commit", "java", "date").map(key -> ", " + key + " " + machine.get(key))
        .collect(Collectors.joining()) + ". Copies of the device's memory, by run: " + copies + " GB/s.";
  }

  /** Of what was measured more than once, the run with more of it. */
  private static List<Figures.Row> rows(Results results) {
    var rows = new LinkedHashMap<String, Figures.Row>();
    results.figures.stream().sorted(Comparator.comparingInt((Figures run) -> run.rows().size()).reversed())
        .flatMap(run -> run.rows().stream())
        .forEach(row -> rows.merge(row.operation() + " " + row.tokens() + " " + row.width(), row,
            (first, second) -> first.microseconds() == null ? second : first));
    return List.copyOf(rows.values());
  }

  // ------------------------------------------------------------------------------------------------ tables

  private static String kernels(List<Figures.Row> rows) {
    return table(List.of("operation", "T", "C", "us", "least to most", "launches", "GB/s", "of copy"),
        rows.stream().filter(row -> row.teraflops() == null).map(row -> row.problem() != null
            ? List.of(row.operation(), row.tokens() + "", row.width() + "", firstLine(row.problem()))
            : List.of(row.operation(), row.tokens() + "", row.width() + "", number(row.microseconds()),
                number(row.least()) + " to " + number(row.most()), row.launches() + "", decimal(0, row.gigabytesPerSecond()),
                decimal(2, row.fraction()))));
  }

  private static String products(List<Figures.Row> rows) {
    return table(List.of("product", "extent", "us", "least to most", "TFLOP/s"),
        rows.stream().filter(row -> row.teraflops() != null).map(row -> List.of(row.operation(), row.tokens() + "",
            number(row.microseconds()), number(row.least()) + " to " + number(row.most()), decimal(1, row.teraflops()))));
  }

  /** Each beside ours of the same shape. */
  private static String peers(Results results, List<Peer> peers) {
    if (peers.isEmpty()) {
      return "";
    }
    return table(List.of("beside mhc", "operation", "T", "C", "us", "least to most", "times mhc's"),
        peers.stream().map(peer -> peer.problem != null
            ? List.of(peer.peer, peer.operation, peer.tokens + "", peer.width + "", firstLine(peer.problem))
            : List.of(peer.peer, peer.operation, peer.tokens + "", peer.width + "", number(peer.microseconds),
                number(peer.least) + " to " + number(peer.most), times(results, peer))));
  }

  private static String times(Results results, Peer peer) {
    double ours = 0;
    for (String operation : peer.operation.equals("boundary") ? List.of("boundary") : List.of("boundary", "boundary_backward")) {
      ours += rows(results).stream().filter(row -> row.operation().equals(operation) && row.tokens() == peer.tokens
          && row.width() == peer.width && row.microseconds() != null).mapToDouble(Figures.Row::microseconds).findFirst()
          .orElse(Double.NaN);
    }
    return Double.isNaN(ours) ? "" : decimal(1, peer.microseconds / ours);
  }

  private static String steps(Run run) {
    return "Commit " + run.commit + ", " + run.gpu + ", " + run.date + ".\n\n" + table(List.of("step", "outcome", "s", "note"),
        run.steps.stream().map(step -> List.of(step.step, step.outcome, step.seconds + "", step.note)));
  }

  private static String table(List<String> heads, Stream<List<String>> rows) {
    var text = new StringBuilder(line(heads)).append("|---".repeat(heads.size())).append("|\n");
    rows.forEach(row -> text.append(line(row)));
    return text.toString();
  }

  private static String line(List<String> cells) {
    return cells.stream().map(cell -> cell.replace("|", "\\|")).collect(Collectors.joining(" | ", "| ", " |\n"));
  }

  private static String number(double microseconds) {
    return decimal(microseconds < 100 ? 2 : 1, microseconds);
  }

  private static String decimal(int digits, double value) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }

  private static String firstLine(String text) {
    return text.lines().findFirst().orElse("");
  }
}
