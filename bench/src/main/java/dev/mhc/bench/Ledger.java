// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.CpuOptions;
import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.Traffic;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.BiConsumer;

/**
 * The traffic ledger, counted: what each form of a boundary reads and writes of its rows, by a device that counts every
 * load and store, beside what it should be. The unit is C elements a token.
 */
public final class Ledger {
  /**
   * One operation.
   *
   * @param name of it
   * @param reads counted
   * @param writes counted
   */
  public record Count(String name, double reads, double writes) {}

  /**
   * One way to do a boundary.
   *
   * @param name of it
   * @param reads that it should do
   * @param writes that it should do
   * @param operations that it is made of, counted
   */
  public record Form(String name, int reads, int writes, List<Count> operations) {
    /** Counted, all operations together. */
    public double countedReads() {
      return operations.stream().mapToDouble(Count::reads).sum();
    }

    /** Counted, all operations together. */
    public double countedWrites() {
      return operations.stream().mapToDouble(Count::writes).sum();
    }

    /** Whether what was counted is what should be. */
    public boolean holds() {
      return countedReads() == reads && countedWrites() == writes;
    }
  }

  private Ledger() {}

  /** Counts a few tokens of a width. */
  public static List<Form> count(HyperConnectionConfig config, long width) {
    int n = config.streams();
    var forms = new ArrayList<Form>();
    try (Device device = Device.cpu(new CpuOptions(1, CpuTier.COUNTING));
        var boundary = new BoundaryCase(device, config, DType.BF16, 24, width, 0)) {
      forms.add(form("five operations (Table 2)", 5 * n + 2, 3 * n + 1, device, boundary, BoundaryCase::unfused));
      forms.add(form("three kernels", 3 * n + 1, n + 1, device, boundary, BoundaryCase::threeKernels));
      forms.add(form("two passes", 2 * n + 1, n + 1, device, boundary, BoundaryCase::twoPasses));
      forms.add(form("single pass", n + 1, n + 1, device, boundary, BoundaryCase::boundary));
      boundary.receiveCoefficientGradients();
      forms.add(form("backward, three kernels", 6 * n + 2, 3 * n + 1, device, boundary,
          BoundaryCase::threeKernelsBackward));
      forms.add(form("backward, single pass", 2 * n + 2, n + 1, device, boundary, BoundaryCase::boundaryBackward));
    }
    return forms;
  }

  private static Form form(String name, int reads, int writes, Device device, BoundaryCase boundary,
      BiConsumer<BoundaryCase, BoundaryCase.Set> work) {
    var counts = new ArrayList<Count>();
    double unit = boundary.unit();
    boundary.afterEach(operation -> {
      Traffic traffic = device.traffic();
      counts.add(new Count(operation, traffic.rowBytesRead() / unit, traffic.rowBytesWritten() / unit));
    });
    work.accept(boundary, boundary.first());
    return new Form(name, reads, writes, List.copyOf(counts));
  }

  /** The ledger for people. */
  public static String table(List<Form> forms) {
    var table = new Table("form", "reads", "counted", "writes", "counted", "in all", "counted");
    for (Form form : forms) {
      table.row(form.name(), String.valueOf(form.reads()), number(form.countedReads()), String.valueOf(form.writes()),
          number(form.countedWrites()), String.valueOf(form.reads() + form.writes()),
          number(form.countedReads() + form.countedWrites()) + (form.holds() ? "" : " !"));
      if (form.operations().size() > 1) {
        for (Count one : form.operations()) {
          table.row("  " + one.name(), "", number(one.reads()), "", number(one.writes()), "",
              number(one.reads() + one.writes()));
        }
      }
    }
    return table + "  Table 2 of the paper reads 5n + 1; the fifth operation here is given a row of zeros on top."
        + System.lineSeparator();
  }

  private static String number(double value) {
    return value == Math.rint(value) ? String.valueOf((long) value) : String.format(Locale.ROOT, "%.2f", value);
  }
}
