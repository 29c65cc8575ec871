// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import dev.mhc.CudaDevice;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Doctor;
import dev.mhc.MhcException;
import dev.mhc.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Measures a GPU: {@code Main [--widths C,...] [--tokens T,...] [--extent N] [--no-products] [--only REGEX] [--seconds S]
 * [--once] OUT.json}.
 *
 * <p>Kernels come before large matrices and products of them, which --no-products leaves out and whose size --extent is at
 * most, and shapes in the order in which they are given. The file is written anew after
 * each shape, so that what was measured is there even if the run is ended. With --once every kernel runs a single time, for a
 * profiler that counts what kernels do.
 */
public final class Main {
  private static final long GIB = 1L << 30;
  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().setPrettyPrinting().create();

  private long[] widths = {4096, 7168, 2560, 1280};
  private long[] tokens = {8192, 64, 4096, 1, 32768};
  private long extent = 8192;
  private Pattern only = Pattern.compile("");
  private double seconds = 240;
  private boolean once;
  private boolean products = true;
  private Path out;

  private final List<Figures.Row> rows = new ArrayList<>();
  private double copyRate;

  private Main() {}

  /** Runs it; exits with 0 if something was measured and nothing failed but what this version does not have. */
  public static void main(String... arguments) throws IOException {
    var main = new Main();
    main.read(arguments);
    System.exit(main.run() ? 0 : 1);
  }

  private void read(String... arguments) {
    for (int i = 0; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "--widths" -> widths = numbers(arguments[++i]);
        case "--tokens" -> tokens = numbers(arguments[++i]);
        case "--extent" -> extent = Long.parseLong(arguments[++i]);
        case "--only" -> only = Pattern.compile(arguments[++i]);
        case "--seconds" -> seconds = Double.parseDouble(arguments[++i]);
        case "--once" -> once = true;
        case "--no-products" -> products = false;
        default -> {
          if (out != null || arguments[i].startsWith("-")) {
            throw new IllegalArgumentException(arguments[i] + " is none of the options");
          }
          out = Path.of(arguments[i]);
        }
      }
    }
    if (out == null) {
      throw new IllegalArgumentException("no file is named for the results");
    }
  }

  private static long[] numbers(String list) {
    return Pattern.compile(",").splitAsStream(list).mapToLong(Long::parseLong).toArray();
  }

  private boolean run() throws IOException {
    boolean good = true;
    long end = System.nanoTime() + (long) (seconds * 1e9);
    try (CudaDevice device = Device.cuda(0)) {
      if (!once) {
        copyRate = copyRate(device);
        System.out.printf("%s: copies %.0f GB/s%n", device.name(), copyRate);
        write(device);
      }
      for (long width : widths) {
        for (long count : tokens) {
          if (System.nanoTime() > end) {
            rows.add(failed("*", count, width, "the time was up"));
            continue;
          }
          good &= shape(device, count, width);
          write(device);
        }
      }
      if (products && !once) {
        good &= System.nanoTime() < end && matrices(device);
        write(device);
        good &= System.nanoTime() < end && products(device);
      }
      write(device);
    }
    return good && rows.stream().anyMatch(row -> row.problem() == null);
  }

  /** Of the device's memory to itself: bytes read and written. */
  private double copyRate(CudaDevice device) {
    long bytes = Math.min(2 * GIB, device.memory().free() / 8) / 4 * 4;
    try (Tensor from = Rows.random(device, DType.FP32, 1, bytes / 4); Tensor to = device.tensor(DType.FP32, bytes / 4)) {
      Replay.Time time = Replay.time(device, count -> {
        for (int i = 0; i < count; i++) {
          to.copyFrom(from);
        }
      });
      return 2 * bytes / time.median() / 1e3;
    }
  }

  private boolean shape(CudaDevice device, long count, long width) {
    try (var kernels = new Kernels(device, device.l2Bytes(), count, width)) {
      return measure(device, kernels.all(), count, width);
    } catch (MhcException e) { // no room for its operands
      return failed(e, "*", count, width);
    }
  }

  /** Sinkhorn of matrices that are no token's. */
  private boolean matrices(CudaDevice device) {
    boolean good = true;
    for (long size : Matrices.SIZES) {
      if (size > extent) {
        continue;
      }
      try (var matrices = new Matrices(device, size)) {
        good &= measure(device, matrices.all(), 1, size);
      } catch (MhcException e) {
        good &= failed(e, "sinkhorn_large", 1, size);
      }
    }
    return good;
  }

  private boolean measure(CudaDevice device, Map<String, Kernels.Kernel> kernels, long count, long width) {
    boolean good = true;
    for (var entry : kernels.entrySet()) {
      if (!only.matcher(entry.getKey()).find()) {
        continue;
      }
      Kernels.Kernel kernel = entry.getValue();
      try {
        if (once) {
          kernel.calls().run(1);
          device.synchronize();
          rows.add(new Figures.Row(entry.getKey(), count, width, null, null, null, null, kernel.bytes(), null, null, null, null));
          continue;
        }
        Replay.Time time = Replay.time(device, kernel.calls());
        double rate = kernel.bytes() / time.median() / 1e3;
        rows.add(new Figures.Row(entry.getKey(), count, width, time.median(), time.least(), time.most(), time.launches(),
            kernel.bytes(), rate, rate / copyRate, null, null));
        System.out.printf("%-26s T=%-6d C=%-5d %9.2f us  %2d launches  %7.0f GB/s  %.2f of copy%n", entry.getKey(), count, width,
            time.median(), time.launches(), rate, rate / copyRate);
      } catch (MhcException e) {
        good &= failed(e, entry.getKey(), count, width);
      }
    }
    return good;
  }

  /** Whether that is no more than what this version does not have. */
  private boolean failed(MhcException e, String operation, long count, long width) {
    rows.add(failed(operation, count, width, e.getMessage()));
    System.out.printf("%-26s T=%-6d C=%-5d %s%n", operation, count, width, e.getMessage().lines().findFirst().orElse(""));
    return e.status().equals("MHC_UNSUPPORTED");
  }

  private boolean products(CudaDevice device) {
    boolean good = true;
    for (var entry : Products.all(extent).entrySet()) {
      if (!only.matcher(entry.getKey()).find()) {
        continue;
      }
      try {
        Products.Measured measured = entry.getValue().measure().apply(device);
        try {
          Replay.Time time = Replay.time(device, count -> {
            for (int i = 0; i < count; i++) {
              measured.call().run();
            }
          });
          double rate = entry.getValue().operations() / time.median() / 1e6;
          rows.add(new Figures.Row(entry.getKey(), extent, extent, time.median(), time.least(), time.most(), time.launches(), null, null,
              null, rate, null));
          System.out.printf("%-20s %5d %10.2f us  %2d launches  %7.1f TFLOP/s%n", entry.getKey(), extent, time.median(),
              time.launches(), rate);
        } finally {
          measured.close().run();
        }
      } catch (MhcException e) {
        rows.add(failed(entry.getKey(), extent, extent, e.getMessage()));
        System.out.printf("%-20s %5d %s%n", entry.getKey(), extent, e.getMessage().lines().findFirst().orElse(""));
        good = false;
      }
    }
    return good;
  }

  private static Figures.Row failed(String operation, long tokens, long width, String problem) {
    return new Figures.Row(operation, tokens, width, null, null, null, null, null, null, null, null, problem);
  }

  private void write(CudaDevice device) throws IOException {
    var machine = new LinkedHashMap<String, Object>();
    machine.put("gpu", device.name());
    machine.put("multiprocessors", device.multiprocessors());
    machine.put("computeCapability", device.computeCapability());
    machine.put("memory", device.memory().total());
    machine.put("driver", System.getProperty("mhc.bench.driver", "unknown"));
    machine.put("java", System.getProperty("java.vm.name") + " " + Runtime.version());
    machine.put("mhc", Doctor.examine().libraryVersion());
    machine.put("commit", System.getProperty("mhc.bench.commit", "unknown"));
    machine.put("date", LocalDate.now().toString());
    Files.writeString(out, GSON.toJson(new Figures(machine, copyRate, rows)) + "\n");
  }
}
