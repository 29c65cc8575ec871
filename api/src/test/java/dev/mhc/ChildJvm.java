// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.NativeLibrary;
import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs a class in a JVM of its own: what is loaded, or refused, stays so for the life of a JVM. */
final class ChildJvm {
  record Result(int exitCode, String output) {}

  private final List<String> options = new ArrayList<>();
  private final Map<String, String> environment = new java.util.HashMap<>();
  private Path bindings = locationOf(NativeLibrary.class);
  private final List<Path> more = new ArrayList<>();

  static Path locationOf(Class<?> type) {
    try {
      return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  /** Where the classes of these tests are. */
  static Path testClasses() {
    Path classes = Path.of("target", "test-classes").toAbsolutePath();
    return classes.toFile().isDirectory() ? classes : locationOf(ChildJvm.class); // in a jar, where there is no Maven
  }

  ChildJvm options(String... values) {
    options.addAll(Arrays.asList(values));
    return this;
  }

  ChildJvm environment(String key, String value) {
    environment.put(key, value);
    return this;
  }

  ChildJvm bindings(Path location) {
    bindings = location;
    return this;
  }

  ChildJvm classes(Path location) {
    more.add(location);
    return this;
  }

  Result runOnClassPath(String mainClass, String... arguments) throws IOException, InterruptedException {
    return run(List.of("-cp", path()), List.of(mainClass), arguments);
  }

  Result runOnModulePath(String main, String... arguments) throws IOException, InterruptedException {
    return run(List.of("-p", path()), List.of("-m", main), arguments);
  }

  private String path() {
    var path = new StringBuilder(locationOf(Device.class).toString()).append(File.pathSeparator).append(bindings);
    more.forEach(each -> path.append(File.pathSeparator).append(each));
    return path.toString();
  }

  private Result run(List<String> path, List<String> main, String... arguments)
      throws IOException, InterruptedException {
    var command = new ArrayList<String>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    command.addAll(path);
    command.addAll(main);
    command.addAll(Arrays.asList(arguments));
    var builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().remove(NativeLibrary.PATH_VARIABLE);
    builder.environment().putAll(environment);
    Process process = builder.start();
    String output = new String(process.getInputStream().readAllBytes());
    if (!process.waitFor(2, TimeUnit.MINUTES)) {
      process.destroyForcibly();
      throw new AssertionError("still running: " + command);
    }
    return new Result(process.exitValue(), output);
  }

  /** Compiles C to a shared library; the compiler that built the native part is there. */
  static void compile(Path library, String source, String... moreArguments) throws IOException, InterruptedException {
    Path file = library.resolveSibling(library.getFileName() + ".c");
    java.nio.file.Files.writeString(file, source);
    var command = new ArrayList<>(List.of("cc", "-shared", "-fPIC", "-o", library.toString(), file.toString()));
    command.addAll(Arrays.asList(moreArguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes());
    if (process.waitFor() != 0) {
      throw new AssertionError("cc failed: " + output);
    }
  }
}
