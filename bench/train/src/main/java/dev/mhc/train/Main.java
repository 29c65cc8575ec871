// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.CpuOptions;
import dev.mhc.CpuTier;
import dev.mhc.Device;
import dev.mhc.bench.Program;
import dev.mhc.bench.Text;
import dev.mhc.bench.report.Machine;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The command line of {@code scripts/train}. */
@Command(name = "train", mixinStandardHelpOptions = false, sortOptions = false, usageHelpWidth = 110,
    description = {"Trains a small transformer on bytes of real text, with one kind of residual or several side by side, and"
        + " writes a report: loss, gains, what the streams mix, what a step takes and holds. Ctrl-C saves.", ""},
    footer = {"", "Exit status: 0 it came to the end; 1 it was stopped or failed; 2 the command line is wrong."})
public final class Main implements Callable<Integer> {
  private static final int SOURCES = 8 << 20; // bytes

  @Spec
  private CommandSpec spec;

  @Option(names = "--kinds", split = ",", paramLabel = "KIND,...", defaultValue = "residual,hc,mhc",
      description = "of residual: residual, hc, mhc, mhc_lite; default: ${DEFAULT-VALUE}")
  private List<Kind> kinds;

  @Option(names = "--text", paramLabel = "FILE", description = "the text; default: the sources of the Java that runs, or its"
      + " licences where it has no sources")
  private @Nullable Path text;

  @Option(names = "--layers", paramLabel = "L", defaultValue = "6",
      description = "layers, each attention and feed-forward; default: ${DEFAULT-VALUE}")
  private int layers;

  @Option(names = "--width", paramLabel = "C", defaultValue = "128", description = "channels; default: ${DEFAULT-VALUE}")
  private int width;

  @Option(names = "--streams", paramLabel = "N", defaultValue = "4",
      description = "residual streams of every kind but residual; default: ${DEFAULT-VALUE}")
  private int streams;

  @Option(names = "--heads", paramLabel = "N", defaultValue = "4", description = "of attention; default: ${DEFAULT-VALUE}")
  private int heads;

  @Option(names = "--context", paramLabel = "S", defaultValue = "128", description = "bytes of a sequence; default:"
      + " ${DEFAULT-VALUE}")
  private int context;

  @Option(names = "--batch", paramLabel = "B", defaultValue = "8", description = "sequences of a step; default:"
      + " ${DEFAULT-VALUE}")
  private int batch;

  @Option(names = "--steps", paramLabel = "N", defaultValue = "400", description = "in all; default: ${DEFAULT-VALUE}")
  private int steps;

  @Option(names = "--rate", paramLabel = "R", defaultValue = "0.003", description = "largest learning rate; default:"
      + " ${DEFAULT-VALUE}")
  private double rate;

  @Option(names = "--optimizer", paramLabel = "NAME", defaultValue = "muon", description = "of hidden matrices: muon"
      + " (DeepSeek-V4's 8 + 2 steps), muon_short (Keller Jordan's 5), adamw; everything else has AdamW; default:"
      + " ${DEFAULT-VALUE}")
  private Settings.MatrixOptimizer optimizer;

  @Option(names = "--precision", paramLabel = "TYPE", defaultValue = "fp32", description = "of the streams: fp32, bf16; F"
      + " computes in fp32; default: ${DEFAULT-VALUE}")
  private Settings.Precision precision;

  @Option(names = "--recompute", paramLabel = "HOW", defaultValue = "off", description = "auto: keep the residual of one"
      + " function in each block of the planner's, and rebuild the others; off; default: ${DEFAULT-VALUE}")
  private Recomputing recompute;

  @Option(names = "--seed", paramLabel = "N", defaultValue = "1", description = "of all that is random; default:"
      + " ${DEFAULT-VALUE}")
  private long seed;

  @Option(names = "--threads", paramLabel = "N", defaultValue = "0",
      description = "of mhc and of PyTorch; default: as many as the process may use")
  private int threads;

  @Option(names = "--check-every", paramLabel = "N", defaultValue = "25",
      description = "steps between looks at held-out text; default: ${DEFAULT-VALUE}")
  private int checkEvery;

  @Option(names = "--save-every", paramLabel = "N", defaultValue = "100",
      description = "steps between checkpoints; default: ${DEFAULT-VALUE}")
  private int saveEvery;

  @Option(names = "--out", paramLabel = "DIR", defaultValue = "target/train",
      description = "folder for the report and checkpoints; default: ${DEFAULT-VALUE}")
  private Path out;

  @Option(names = "--resume", paramLabel = "PATH", description = "goes on from a checkpoint, or from the last one of each run"
      + " in a folder, bit for bit; its settings count, and --text and --threads have to be as they were")
  private @Nullable Path resume;

  @Option(names = "--study", description = "12, 24 and 48 layers, three seeds, each of --kinds, one after the other, and one"
      + " table for all; --layers and --seed do not count")
  private boolean study;

  @Option(names = {"-h", "--help"}, usageHelp = true, description = "this text")
  private boolean help;

  private enum Recomputing {
    AUTO,
    OFF
  }

  /** Runs the command line and exits. */
  public static void main(String... arguments) {
    System.exit(command(new PrintWriter(System.out, true), new PrintWriter(System.err, true)).execute(arguments));
  }

  static CommandLine command(PrintWriter output, PrintWriter errors) {
    return Program.commandLine("train", new Main(), output, errors, List.of(NotFiniteException.class));
  }

  @Override
  public Integer call() throws IOException {
    checkRanges();
    if (threads > 0) {
      System.setProperty("ai.djl.pytorch.num_threads", String.valueOf(threads));
    }
    var corpus = new Corpus(text());
    try (Device device = Device.cpu(new CpuOptions(threads, CpuTier.AUTO))) {
      Settings first = new Settings(kinds.get(0), layers, width, streams, heads, context, batch, steps, rate, optimizer,
          precision, recompute == Recomputing.AUTO, seed, corpus.source(), corpus.check());
      if (study) {
        return new Study(device, corpus, first, kinds, this::run, out, output()).run() ? 0 : 1;
      }
      try (var runs = new Runs(device, trainings(device, first, corpus), resume == null ? out : runFolder(), output())) {
        runs.stopOnSignal();
        List<Report.Run> done = run(runs, corpus, runs.folder().resolve("report.html"));
        return !done.isEmpty() && done.stream().allMatch(each -> each.history().end() == null) ? 0 : 1;
      }
    }
  }

  private PrintWriter output() {
    return spec.commandLine().getOut();
  }

  /** Runs to the end and writes the report; nothing if it was stopped before. */
  private List<Report.Run> run(Runs runs, Corpus corpus, Path page) throws IOException {
    output().println("==> " + corpus.source() + "; " + runs.trainings().get(0).settings.tokens() + " bytes a step");
    boolean isTerminal = System.console() != null && System.console().isTerminal();
    if (!runs.run(new Runs.Intervals(checkEvery, saveEvery), isTerminal)) {
      return List.of();
    }
    var done = new ArrayList<Report.Run>();
    for (Training training : runs.trainings()) {
      training.validate(); // the mixes of the report are those on held-out text
      var memory = new ArrayList<Memory>();
      for (boolean recomputed : new boolean[] {false, true}) {
        memory.add(Memory.measure(runs.device(), training.settings, recomputed, corpus));
      }
      done.add(new Report.Run(training.settings, training.history(), training.mixing(), memory));
    }
    Files.createDirectories(page.toAbsolutePath().getParent());
    Files.writeString(page, Report.of(done, Machine.current(), runs.device().threads()));
    output().println("    report: " + page);
    return done;
  }

  private List<Training> trainings(Device device, Settings first, Corpus corpus) throws IOException {
    var trainings = new ArrayList<Training>();
    try {
      if (resume == null) {
        for (Kind kind : kinds) {
          trainings.add(Training.start(device, first.with(kind), corpus));
        }
      } else {
        for (Path checkpoint : checkpoints(resume)) {
          trainings.add(Training.resume(device, checkpoint, corpus));
          output().println("    from " + checkpoint);
        }
        trainings.sort(Comparator.comparing(training -> training.settings.kind()));
      }
      return trainings;
    } catch (IOException | RuntimeException e) {
      trainings.forEach(Training::close);
      throw e;
    }
  }

  /** The folder that holds the runs' folders. */
  private Path runFolder() {
    return Files.isDirectory(resume) ? resume : resume.toAbsolutePath().getParent().getParent();
  }

  private List<Path> checkpoints(Path from) throws IOException {
    if (!Files.isDirectory(from)) {
      return List.of(from);
    }
    var checkpoints = new ArrayList<Path>();
    try (Stream<Path> folders = Files.list(from)) {
      for (Path folder : folders.filter(Files::isDirectory).sorted().toList()) {
        Checkpoint.last(folder).ifPresent(checkpoints::add);
      }
    }
    if (checkpoints.isEmpty()) {
      throw Program.wrong(spec, "--resume is " + from
          + ", which has no run with a checkpoint; expected a checkpoint or a folder of runs");
    }
    return checkpoints;
  }

  // ------------------------------------------------------------------------------------------------ checks

  private void checkRanges() {
    Program.check(spec, "--layers", layers, 1, 500);
    Program.check(spec, "--width", width, 1, 16384);
    Program.check(spec, "--streams", streams, 1, kinds.contains(Kind.MHC_LITE) ? 5 : 16);
    Program.check(spec, "--heads", heads, 1, width);
    Program.check(spec, "--context", context, 1, 8192);
    Program.check(spec, "--batch", batch, 1, 4096);
    Program.check(spec, "--steps", steps, 1, 10_000_000);
    Program.check(spec, "--threads", threads, 0, 1024);
    Program.check(spec, "--check-every", checkEvery, 1, 10_000_000);
    Program.check(spec, "--save-every", saveEvery, 1, 10_000_000);
    if (width % heads != 0) {
      throw Program.wrong(spec, "--heads is " + heads + "; expected a divisor of --width, " + width);
    }
    if (!(rate > 0 && rate <= 1)) {
      throw Program.wrong(spec, "--rate is " + rate + "; expected above 0 to 1");
    }
    if (kinds.size() != kinds.stream().distinct().count()) {
      throw Program.wrong(spec, "--kinds is " + kinds + "; expected each kind once");
    }
    if (resume != null && !Files.exists(resume)) {
      throw Program.wrong(spec, "--resume is " + resume + ", which does not exist; expected a checkpoint or a folder of runs");
    }
  }

  private Text text() throws IOException {
    if (text != null && !Files.isReadable(text)) {
      throw Program.wrong(spec, "--text is " + text + ", which cannot be read; expected a file");
    }
    Text all = text != null ? Text.of(text) : Text.ofSources(SOURCES).orElse(null);
    if (all == null) {
      all = Text.ofLicences();
    }
    if (all.length() / 20 <= context) {
      throw Program.wrong(spec, "--text has " + all.length() + " bytes; expected more than 20 times --context, " + context);
    }
    return all;
  }
}
