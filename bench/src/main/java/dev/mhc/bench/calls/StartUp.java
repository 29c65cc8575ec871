// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import dev.mhc.Device;
import dev.mhc.bench.Rounds;
import dev.mhc.bench.report.Comparison;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** From the start of a JVM to its end with a first result, with and without what a JVM can keep from an earlier run. */
public final class StartUp {
  /** The kind of this comparison. */
  public static final String KIND = "startup";

  private static final int AOT_CACHE_SINCE = 25;

  private final String classPath;

  private StartUp(String classPath) {
    this.classPath = classPath;
  }

  /** Processes started in turns. */
  public static Comparison measure(double seconds) throws IOException {
    Path folder = Files.createTempDirectory("mhc-startup");
    try {
      return new StartUp(own(System.getProperty("java.class.path"), folder)).measure(seconds, folder);
    } finally {
      try (Stream<Path> files = Files.walk(folder)) {
        files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
      }
    }
  }

  /** A jar without other libraries, whose tens of thousands of entries every JVM would read; a path of folders as it is. */
  static String own(String classPath, Path folder) throws IOException {
    if (!classPath.endsWith(".jar") || classPath.contains(File.pathSeparator)) {
      return classPath;
    }
    Path made = folder.resolve("mhc.jar");
    try (var from = new ZipFile(classPath); var to = new ZipOutputStream(Files.newOutputStream(made))) {
      for (ZipEntry entry : Collections.list(from.entries())) {
        if (!entry.isDirectory() && entry.getName().matches("(dev/mhc|META-INF/native)/.*")) {
          to.putNextEntry(new ZipEntry(entry.getName()));
          from.getInputStream(entry).transferTo(to);
        }
      }
    }
    return made.toString();
  }

  private Comparison measure(double seconds, Path folder) throws IOException {
    var rounds = new Rounds().add("a JVM that does nothing", () -> run(List.of(), "nothing"))
        .add("first result", () -> run(List.of()))
        .add("first result without CDS", () -> run(List.of("-Xshare:off")));
    String archive = folder.resolve("mhc.jsa").toString();
    run(List.of("-XX:ArchiveClassesAtExit=" + archive));
    List<String> shared = kept("-XX:SharedArchiveFile=" + archive);
    rounds.add("first result with AppCDS", () -> run(shared));
    if (Runtime.version().feature() >= AOT_CACHE_SINCE) {
      String cache = folder.resolve("mhc.aot").toString();
      run(List.of("-XX:AOTCacheOutput=" + cache));
      List<String> cached = kept("-XX:AOTCache=" + cache);
      rounds.add("first result with an AOT cache", () -> run(cached));
    }
    var entries = new ArrayList<Comparison.Entry>();
    rounds.run(1, 31, seconds).forEach((name, spread) -> entries.add(new Comparison.Entry(name, spread.seconds(), null)));
    return new Comparison(KIND, "a process", Map.of(), List.copyOf(entries));
  }

  /** An option that has a JVM use what an earlier run kept. A JVM that cannot would go on without a word. */
  private List<String> kept(String option) {
    String loaded = output(List.of(option, "-Xlog:class+load"));
    if (!loaded.contains(Device.class.getName() + " source: shared objects file")) {
      throw new IllegalStateException(option + " is not used: " + loaded.lines().limit(5).toList());
    }
    return List.of(option);
  }

  private long run(List<String> options, String... arguments) {
    long start = System.nanoTime();
    output(options, arguments);
    return System.nanoTime() - start;
  }

  private String output(List<String> options, String... arguments) {
    var command = new ArrayList<String>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-Xlog:disable", "-Xlog:all=error:stderr"));
    command.addAll(options);
    command.addAll(List.of("-cp", classPath, FirstResult.class.getName()));
    command.addAll(List.of(arguments));
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String output = new String(process.getInputStream().readAllBytes());
      int status = process.waitFor();
      if (status != 0) {
        throw new IllegalStateException(String.join(" ", command) + " ended with " + status + ": " + output);
      }
      return output;
    } catch (IOException e) {
      throw new IllegalStateException("a JVM did not start", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    }
  }
}
