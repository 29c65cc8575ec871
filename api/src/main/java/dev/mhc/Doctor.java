// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.LoadFailure;
import dev.mhc.bindings.NativeLibrary;
import dev.mhc.bindings.VendorLibrary;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Tells whether mhc works here, and if not, why: {@code java -m dev.mhc/dev.mhc.Doctor [--json]}, or
 * {@code java -cp ... dev.mhc.Doctor [--json]}.
 *
 * <p>Exit codes of the command: 0 all is well; 1 the native library cannot be loaded; 2 it is loaded, but gives wrong
 * results or fails; 64 the command line is wrong.
 */
public final class Doctor {
  private static final int USAGE = 64;

  private Doctor() {}

  /**
   * What the doctor found.
   *
   * @param version of this library
   * @param platform operating system and processor, such as linux-x86_64
   * @param java version, virtual machine and vendor
   * @param module whether the library runs as a module or from the class path
   * @param nativeAccess whether native access was granted, refused, or tolerated with a warning
   * @param nativeAccessFlag the option that grants it
   * @param libraryPath the native library's file; null if none is loaded
   * @param librarySource which of the places searched had it; null likewise
   * @param libraryVersion its version; null likewise
   * @param abiVersion its ABI version; 0 likewise
   * @param attempts every place looked at, and what came of it
   * @param device the best device in words; null if there is none
   * @param threads its native threads; 0 on a GPU
   * @param tier its vector code; null likewise
   * @param tiers all vector code that this CPU can run
   * @param selfTestError largest relative error of a small boundary against double precision; NaN if it did not run
   * @param otherLibraries for each library that some classes need: its file, or the places tried and what helps; nothing is
   *     wrong where they are missing
   * @param gpus how many GPUs there are and what each is, or why it cannot be used
   * @param problem what is wrong; null if nothing is
   * @param exitCode of the command
   */
  public record Report(String version, String platform, String java, String module, String nativeAccess,
      String nativeAccessFlag, @Nullable String libraryPath, @Nullable String librarySource,
      @Nullable String libraryVersion, int abiVersion, List<String> attempts, @Nullable String device, int threads,
      @Nullable CpuTier tier, Set<CpuTier> tiers, double selfTestError, List<String> otherLibraries, @Nullable String gpus,
      @Nullable String problem, int exitCode) {

    /** Whether all is well. */
    public boolean healthy() {
      return exitCode == 0;
    }

    /** The report for people. */
    public String toText() {
      var text = new StringBuilder();
      line(text, "mhc", version + " on " + platform);
      line(text, "java", java);
      line(text, "module", module);
      line(text, "native access", nativeAccess);
      if (libraryPath == null) {
        line(text, "library", "not loaded");
      } else {
        line(text, "library", libraryPath + " (" + librarySource + ")");
        line(text, "", "version " + libraryVersion + ", ABI version " + abiVersion);
      }
      for (String attempt : attempts) {
        line(text, attempt.equals(attempts.get(0)) ? "places tried" : "", attempt);
      }
      if (device != null) {
        line(text, "device", device);
        if (threads > 0) { // a CPU
          line(text, "threads", String.valueOf(threads));
          line(text, "vector code", tier + ", of " + tiers);
        }
      }
      if (!Double.isNaN(selfTestError)) {
        line(text, "self-test", "largest relative error " + selfTestError);
      }
      for (String each : otherLibraries) {
        line(text, each.equals(otherLibraries.get(0)) ? "others" : "", each);
      }
      if (gpus != null) {
        line(text, "GPUs", gpus);
      }
      line(text, "verdict", problem == null ? "all is well" : problem);
      return text.toString();
    }

    private static void line(StringBuilder text, String label, String value) {
      text.append(String.format("%-14s %s%n", label, value.replace("\n", System.lineSeparator() + " ".repeat(15))));
    }

    /** The report for programs: one JSON object, its keys the names of this record's components. */
    public String toJson() {
      var json = new JsonObject();
      json.add("version", version).add("platform", platform).add("java", java).add("module", module);
      json.add("nativeAccess", nativeAccess).add("nativeAccessFlag", nativeAccessFlag);
      json.add("libraryPath", libraryPath).add("librarySource", librarySource).add("libraryVersion", libraryVersion);
      json.add("abiVersion", abiVersion).add("attempts", attempts).add("device", device).add("threads", threads);
      json.add("tier", tier == null ? null : tier.toString());
      json.add("tiers", tiers.stream().map(CpuTier::toString).toList());
      json.add("selfTestError", selfTestError).add("otherLibraries", otherLibraries);
      json.add("gpus", gpus).add("problem", problem).add("exitCode", exitCode);
      return json.toString();
    }
  }

  /** Examines this JVM. */
  public static Report examine() {
    var module = NativeLibrary.class.getModule();
    String runsAs = module.isNamed() ? "module " + module.getName() : "class path";
    String runtime = System.getProperty("java.version") + ", " + System.getProperty("java.vm.name") + ", "
        + System.getProperty("java.vendor");
    String flag = NativeLibrary.nativeAccessFlag();
    String access = module.isNativeAccessEnabled() ? "granted" : "not granted; add " + flag;
    var found = new Findings();
    try {
      NativeLibrary.Loaded library = Native.library();
      found.library = library;
      found.attempts = library.attempts().stream().map(NativeLibrary.Attempt::toString).toList();
      found.tiers = CpuTier.available();
      found.selfTest();
      found.others();
    } catch (NativeLibraryException e) {
      found.attempts = e.attempts();
      found.problem = "the native library cannot be loaded: " + e.hint();
      found.exitCode = 1;
    } catch (RuntimeException | LinkageError e) {
      found.problem = "the library fails: " + e;
      found.exitCode = 2;
    }
    return new Report(found.library == null ? versionOfBindings() : NativeLibrary.bindingsVersion(),
        NativeLibrary.platform(), runtime, runsAs, access, flag,
        found.library == null ? null : found.library.path().toString(),
        found.library == null ? null : found.library.source(), found.library == null ? null : found.library.version(),
        found.library == null ? 0 : found.library.abiVersion(), found.attempts, found.device, found.threads, found.tier,
        found.tiers, found.error, found.others, found.gpus, found.problem, found.exitCode);
  }

  /**
   * The command.
   *
   * @param arguments nothing, or {@code --json}
   */
  public static void main(String... arguments) {
    System.exit(run(System.out, System.err, arguments));
  }

  static int run(PrintStream out, PrintStream err, String... arguments) {
    boolean json = arguments.length == 1 && arguments[0].equals("--json");
    if (arguments.length > (json ? 1 : 0)) {
      err.println("usage: dev.mhc.Doctor [--json]");
      return USAGE;
    }
    Report report = examine();
    out.print(json ? report.toJson() + System.lineSeparator() : report.toText());
    return report.exitCode();
  }

  /** The bindings' own version is in a class that cannot be initialised where native access is refused. */
  private static String versionOfBindings() {
    try {
      return NativeLibrary.bindingsVersion();
    } catch (LinkageError e) {
      return "of unknown version";
    }
  }

  private static final class Findings {
    NativeLibrary.@Nullable Loaded library;
    List<String> attempts = List.of();
    Set<CpuTier> tiers = Set.of();
    @Nullable String device;
    int threads;
    @Nullable CpuTier tier;
    double error = Double.NaN;
    List<String> others = List.of();
    @Nullable String gpus;
    @Nullable String problem;
    int exitCode;

    void others() {
      var lines = new ArrayList<String>();
      for (VendorLibrary each : VendorLibrary.values()) {
        try {
          VendorLibrary.Loaded loaded = each.load();
          lines.add(each + ": " + loaded.path() + " (" + loaded.source() + ")");
        } catch (LoadFailure e) {
          lines.add(each + ": not found; to have it, " + e.fix());
        }
      }
      others = List.copyOf(lines);
      try {
        int count = Cuda.deviceCount();
        gpus = count + ": " + IntStream.range(0, count).mapToObj(Findings::gpu).collect(Collectors.joining("; "));
      } catch (NativeLibraryException e) {
        gpus = "none: the CUDA runtime is not there";
      } catch (CudaException e) {
        gpus = "none: " + e.getMessage();
      }
    }

    private static String gpu(int index) {
      try (CudaDevice device = Device.cuda(index)) {
        CudaDevice.MemoryInfo memory = device.memory();
        return device.name() + ", compute capability " + device.computeCapability() / 10 + "." + device.computeCapability() % 10
            + ", " + device.multiprocessors() + " multiprocessors, " + (memory.free() >> 20) + " of " + (memory.total() >> 20)
            + " MiB free";
      } catch (MhcException e) {
        return "cuda:" + index + " cannot be used: " + e.getMessage();
      }
    }

    void selfTest() {
      try (Device best = Device.best()) {
        device = best.name();
        threads = best.threads();
        tier = best.tier();
        error = SelfTest.run(best);
        if (!SelfTest.passes(error)) {
          problem = "results are wrong: please report this, with the lines above";
          exitCode = 2;
        }
      }
    }
  }
}
