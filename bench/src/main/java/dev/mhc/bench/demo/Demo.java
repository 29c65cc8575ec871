// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Doctor;
import dev.mhc.bench.BoundaryTimes;
import dev.mhc.bench.Ledger;
import dev.mhc.bench.Table;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The parts of the demo, each with what it prints. */
final class Demo {
  private static final double[] SCALES = {0.01, 0.1, 0.3, 0.5, 1, 3};
  private static final int SWEEP_TOKENS = 64;
  private static final double TIMING_SECONDS = 20;

  private final Device device;
  private final PrintWriter out;

  Demo(Device device, PrintWriter out) {
    this.device = device;
    this.out = out;
  }

  /** What was found. */
  void machine() {
    heading("Found");
    Doctor.Report report = Doctor.examine();
    line("%s, %d threads, vector code %s", device.name(), device.threads(), device.tier());
    line("libmhc %s from %s", report.libraryVersion(), report.librarySource());
    line("Java %s", report.java());
    line("self-test: largest relative error %.1e; %s", report.selfTestError(),
        report.problem() == null ? "all is well" : report.problem());
  }

  /** Gains over depth. */
  List<Run> depth(Run.Input input, double scale, Path folder) throws IOException {
    heading(String.format(Locale.ROOT, "%d bytes of text through %d layers, %d streams of %d channels, bf16",
        input.tokens(), input.layers(), Kind.STREAMS, input.width()));
    line("text: %s", input.text().source());
    line("F: a gated running mean over earlier bytes, in Java; loss: cross-entropy of the next byte");
    line("gates: scale %s on mixes of variance 1, for all kinds the same; bias: the plain residual", scale);
    var runs = new ArrayList<Run>();
    for (Kind kind : Kind.values()) {
      Run run = Run.of(device, kind, input, scale, false);
      line("%-8s  forward %.2f s, backward %.2f s, loss %.3f", kind, run.forwardSeconds(), run.backwardSeconds(),
          run.loss());
      runs.add(run);
    }
    heading("Composite Amax gain: how much a signal (forward) and a gradient (backward) can have grown");
    out.print(gains(runs));
    heading("The same behind the last layer, for other scales of the gates (" + SWEEP_TOKENS + " bytes)");
    out.print(sweep(input.first(Math.min(SWEEP_TOKENS, input.tokens()))));
    out.flush();
    write(runs, input.tokens(), folder);
    return runs;
  }

  private static String gains(List<Run> runs) {
    Run hc = runs.get(Kind.HC.ordinal());
    Run mhc = runs.get(Kind.MHC.ordinal());
    var table = new Table("layer", "hc forward", "hc backward", "mhc forward", "mhc backward", "hc |x|", "mhc |x|",
        "hc |dx|", "mhc |dx|");
    int layers = hc.forwardGain().length;
    int step = Math.max(1, layers / 10);
    for (int l = 0; l < layers; l += l == 0 && step > 1 ? step - 1 : step) {
      table.row(String.valueOf(l + 1), GainPlot.value(hc.forwardGain()[l]), GainPlot.value(hc.backwardGain()[l]),
          GainPlot.value(mhc.forwardGain()[l]), GainPlot.value(mhc.backwardGain()[l]), small(hc.residual()[l]),
          small(mhc.residual()[l]), small(hc.gradient()[l]), small(mhc.gradient()[l]));
    }
    var text = new StringBuilder(table.toString());
    text.append(String.format("  |x|, |dx|: root mean square of the residual, and of the gradient that reaches the layer"
        + " on it.%n  Largest gain at any depth, forward and backward:"));
    for (Run run : runs) {
      text.append(String.format(" %s %s, %s%s", run.kind(), GainPlot.value(largest(run.forwardGain())),
          GainPlot.value(largest(run.backwardGain())), run == runs.getLast() ? "." : ";"));
    }
    return text + System.lineSeparator();
  }

  private static double largest(double[] values) {
    return java.util.Arrays.stream(values).max().orElseThrow();
  }

  private String sweep(Run.Input input) {
    var table = new Table("scale", "hc forward", "hc backward", "mhc forward", "mhc backward");
    for (double scale : SCALES) {
      Run hc = Run.of(device, Kind.HC, input, scale, true);
      Run mhc = Run.of(device, Kind.MHC, input, scale, true);
      table.row(String.valueOf(scale), GainPlot.value(hc.finalForwardGain()), GainPlot.value(hc.finalBackwardGain()),
          GainPlot.value(mhc.finalForwardGain()), GainPlot.value(mhc.finalBackwardGain()));
    }
    return table.toString();
  }

  private void write(List<Run> runs, int tokens, Path folder) throws IOException {
    Path csv = folder.resolve("gain.csv");
    Files.writeString(csv, csv(runs));
    Path png = folder.resolve("gain.png");
    try {
      GainPlot.write(runs, tokens, png);
      line("plot: %s   numbers: %s", png, csv);
    } catch (RuntimeException | LinkageError e) { // a machine without any font
      line("no plot: Java cannot draw text here (%s). Debian and Ubuntu: apt-get install fontconfig fonts-dejavu-core", e);
      line("numbers: %s", csv);
    }
  }

  private static String csv(List<Run> runs) {
    var text = new StringBuilder("kind,layer,forward_gain,backward_gain,residual_rms,gradient_rms\n");
    for (Run run : runs) {
      for (int l = 0; l < run.forwardGain().length; l++) {
        text.append(String.format(Locale.ROOT, "%s,%d,%.7g,%.7g,%.7g,%.7g%n", run.kind(), l + 1, run.forwardGain()[l],
            run.backwardGain()[l], run.residual()[l], run.gradient()[l]));
      }
    }
    return text.toString();
  }

  /** The traffic ledger. */
  void ledger(int width) {
    heading("What a boundary moves, in C elements a token: expected, and counted load by load");
    out.print(Ledger.table(Ledger.count(Kind.MHC.config, width)));
    out.flush();
  }

  /** Times. */
  void times(DType type, int tokens, int width) {
    heading(String.format(Locale.ROOT, "How long a boundary takes: T=%d, n=%d, C=%d, %s, %d threads", tokens,
        Kind.STREAMS, width, type, device.threads()));
    line("measuring in turns, for up to %.0f s", TIMING_SECONDS);
    BoundaryTimes times = BoundaryTimes.measure(device, Kind.MHC.config, type, tokens, width, TIMING_SECONDS);
    line("%s", times.copyLine());
    out.print(times.table());
    out.flush();
  }

  private static String small(double value) {
    return String.format(Locale.ROOT, "%.2g", value);
  }

  private void heading(String words) {
    out.println();
    out.println("==> " + words);
  }

  private void line(String format, Object... values) {
    out.println("    " + String.format(Locale.ROOT, format, values));
  }
}
