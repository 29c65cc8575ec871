// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.CpuOptions;
import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.bench.Program;
import dev.mhc.bench.Text;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The command line of the demo: {@code scripts/demo}. */
@Command(name = "demo", mixinStandardHelpOptions = false, sortOptions = false, usageHelpWidth = 110,
    description = {"Takes real text, byte by byte, through a deep stack of hyper-connections, forward and backward, and"
        + " shows how signals and gradients grow with depth, what a layer boundary moves, and how long it takes.", ""})
public final class Main implements Callable<Integer> {
  @Spec
  private CommandSpec spec;

  @Option(names = "--text", paramLabel = "FILE", description = "the text; default: the licences of the Java that runs")
  private Path text;

  @Option(names = "--layers", paramLabel = "L", defaultValue = "60", description = "depth; default: ${DEFAULT-VALUE}")
  private int layers;

  @Option(names = "--width", paramLabel = "C", defaultValue = "512",
      description = "channels of each of the 4 streams; default: ${DEFAULT-VALUE}")
  private int width;

  @Option(names = "--tokens", paramLabel = "T", defaultValue = "512",
      description = "bytes of the text to use; default: ${DEFAULT-VALUE}")
  private int tokens;

  @Option(names = "--scale", paramLabel = "S", defaultValue = "0.5",
      description = "of the gates: how much the mixes depend on the text. Training starts from 0.01 in the paper;"
          + " default: ${DEFAULT-VALUE}")
  private double scale;

  @Option(names = "--seed", paramLabel = "N", defaultValue = "1",
      description = "of all that is random; default: ${DEFAULT-VALUE}")
  private long seed;

  @Option(names = "--threads", paramLabel = "N", defaultValue = "0",
      description = "native threads; default: as many as the process may use")
  private int threads;

  @Option(names = "--timed-tokens", paramLabel = "T", defaultValue = "2048",
      description = "tokens of the boundary that is timed, 0 to leave it out; default: ${DEFAULT-VALUE}")
  private int timedTokens;

  @Option(names = "--timed-width", paramLabel = "C", defaultValue = "2048",
      description = "its channels; default: ${DEFAULT-VALUE}")
  private int timedWidth;

  @Option(names = "--out", paramLabel = "DIR", defaultValue = "target/demo",
      description = "folder for gain.png and gain.csv; default: ${DEFAULT-VALUE}")
  private Path out;

  @Option(names = {"-h", "--help"}, usageHelp = true, description = "this text")
  private boolean help;

  /** Runs the demo and exits. */
  public static void main(String... arguments) {
    System.setProperty("java.awt.headless", "true");
    System.exit(run(arguments));
  }

  /** Runs the demo; the exit code: 0 all went well, 1 it failed, 2 the command line is wrong. */
  static int run(String... arguments) {
    return command(new PrintWriter(System.out, true), new PrintWriter(System.err, true)).execute(arguments);
  }

  static CommandLine command(PrintWriter output, PrintWriter errors) {
    return Program.commandLine("demo", new Main(), output, errors, List.of());
  }

  @Override
  public Integer call() throws IOException {
    checkRanges();
    var input = new Run.Input(text(), layers, width, seed);
    makeFolder();
    try (Device device = Device.cpu(new CpuOptions(threads, CpuTier.AUTO))) {
      var demo = new Demo(device, spec.commandLine().getOut());
      demo.machine();
      demo.depth(input, scale, out);
      demo.ledger(width);
      if (timedTokens > 0) {
        demo.times(DType.BF16, timedTokens, timedWidth);
      }
    }
    return CommandLine.ExitCode.OK;
  }

  private void checkRanges() {
    Program.check(spec, "--layers", layers, 1, 1000);
    Program.check(spec, "--width", width, 1, 65536);
    Program.check(spec, "--tokens", tokens, 1, 1 << 20);
    Program.check(spec, "--threads", threads, 0, 1024);
    Program.check(spec, "--timed-tokens", timedTokens, 0, 1 << 20);
    Program.check(spec, "--timed-width", timedWidth, 1, 65536);
    if (!(scale >= 0 && scale <= 100)) {
      throw Program.wrong(spec, "--scale is " + scale + "; expected 0 to 100");
    }
    long bytes = 2L * layers * tokens * width * (Kind.STREAMS + 2);
    if (bytes > Runtime.getRuntime().maxMemory() * 2) {
      throw Program.wrong(spec, "--layers, --tokens and --width together need " + (bytes >> 20) + " MiB; take less of one");
    }
  }

  private Text text() throws IOException {
    if (text != null && !Files.isRegularFile(text)) {
      throw Program.wrong(spec, "--text is " + text + ", which is not a file; expected a file to read");
    }
    if (text != null && !Files.isReadable(text)) {
      throw Program.wrong(spec, "--text is " + text + ", which cannot be read; expected a file to read");
    }
    Text all = text != null ? Text.of(text) : Text.ofLicences();
    if (all.length() < 2) {
      throw Program.wrong(spec, "--text is " + all.source() + " with " + all.length() + " bytes; expected at least 2");
    }
    return all.first(tokens + 1);
  }

  private void makeFolder() {
    try {
      Files.createDirectories(out);
    } catch (IOException e) {
      throw Program.wrong(spec, "--out is " + out + ", which cannot be made (" + e + "); expected a folder to write to");
    }
  }
}
