// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.Device;
import dev.mhc.Doctor;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;

/**
 * What results depend on. Nothing that names the machine.
 *
 * @param cpu its model
 * @param threads that operations use where nothing is said
 * @param tier vector code
 * @param memory bytes
 * @param system and its architecture
 * @param java runtime
 * @param compiler of the native code
 * @param mhc version
 * @param commit of the sources, "+" behind it where they were changed since; "unknown" where nobody said
 * @param date day
 * @param loadBefore processes that wanted to run, mean of the minute before the suite
 * @param loadAfter mean of its last minute: one of the threads of an operation, at least
 */
public record Machine(String cpu, int threads, String tier, long memory, String system, String java, String compiler,
    String mhc, String commit, String date, double loadBefore, double loadAfter) {
  /** This one. Compiler and commit are the system properties "mhc.bench.compiler" and "mhc.bench.commit". */
  public static Machine current() {
    var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    try (Device device = Device.cpu()) {
      return new Machine(cpuModel(), device.threads(), device.tier().toString(), os.getTotalMemorySize(),
          System.getProperty("os.name") + " " + System.getProperty("os.arch"),
          System.getProperty("java.vm.name") + " " + Runtime.version(), System.getProperty("mhc.bench.compiler", "unknown"),
          Doctor.examine().libraryVersion(), System.getProperty("mhc.bench.commit", "unknown"),
          LocalDate.now().toString(), os.getSystemLoadAverage(), Double.NaN);
    }
  }

  /** The same, at the end. */
  public Machine atTheEnd() {
    return new Machine(cpu, threads, tier, memory, system, java, compiler, mhc, commit, date, loadBefore,
        ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage());
  }

  private static String cpuModel() {
    try (var lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines.filter(line -> line.startsWith("model name")).findFirst()
          .map(line -> line.substring(line.indexOf(':') + 1).strip()).orElse(System.getProperty("os.arch"));
    } catch (IOException e) {
      return System.getProperty("os.arch");
    }
  }
}
