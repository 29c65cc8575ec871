// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bindings.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;
import org.junit.jupiter.api.io.TempDir;

/** Where libmhc is looked for, and what is said when it is not there, or another. The doctor reports, in its own JVM. */
class LoaderTest {
  private static final String GRANT = "--enable-native-access=ALL-UNNAMED";
  private static final String DOCTOR = "dev.mhc.Doctor";

  @TempDir
  private Path directory;

  private Path library;

  @BeforeEach
  void find() {
    library = NativeLibrary.load().path();
  }

  @Test
  void propertyNamesAFileOrADirectory() throws Exception {
    for (Path place : new Path[] {library, library.getParent()}) {
      var result = child().options("-Dmhc.library.path=" + place).runOnClassPath(DOCTOR);
      assertThat(result.output()).contains("system property mhc.library.path: " + library + ": loaded", "all is well");
      assertThat(result.exitCode()).isZero();
    }
  }

  @Test
  void variableNamesAFile() throws Exception {
    var result = child().environment("MHC_LIBRARY_PATH", library.toString()).runOnClassPath(DOCTOR);
    assertThat(result.output()).contains("system property mhc.library.path: -: not set",
        "environment variable MHC_LIBRARY_PATH: " + library + ": loaded");
    assertThat(result.exitCode()).isZero();
  }

  @Test
  void missingFile() throws Exception {
    Path missing = directory.resolve("nowhere.so");
    refused(missing, "system property mhc.library.path: " + missing + ": no such file",
        "correct system property mhc.library.path, or unset it");
  }

  @Test
  void foreignLibraryOfTheSameName() throws Exception {
    Path foreign = directory.resolve("libmhc.so");
    ChildJvm.compile(foreign, "int something_else(void) { return 1; }");
    refused(foreign, foreign + ": refused: it is another library of that name: it has no mhc_abi_version");
  }

  @Test
  void otherAbi() throws Exception {
    Path other = directory.resolve("libmhc.so");
    ChildJvm.compile(other, "int mhc_abi_version(void) { return 99; } const char* mhc_version(void) { return \"7.8.9\"; }");
    refused(other, other + ": refused: it is mhc 7.8.9 with ABI version 99; these bindings are of mhc "
        + NativeLibrary.bindingsVersion() + " with ABI version 1");
  }

  @Test
  void olderLibrary() throws Exception {
    Path older = directory.resolve("libmhc.so");
    ChildJvm.compile(older, "int mhc_abi_version(void) { return 1; } const char* mhc_version(void) { return \"0.0.9\"; }");
    refused(older, older + ": refused: it is mhc 0.0.9 with ABI version 1");
  }

  @Test
  void fileThatIsNoLibrary() throws Exception {
    Path text = directory.resolve("libmhc.so");
    Files.writeString(text, "not a library, but long enough to be looked at as one: it has more than a header's bytes");
    refused(text, text.toString(), "invalid ELF header");
  }

  @Test
  void libraryThatLacksAnother() throws Exception {
    Path needed = directory.resolve("libneeded.so");
    ChildJvm.compile(needed, "int needed(void) { return 1; }");
    Path needing = directory.resolve("libmhc.so");
    ChildJvm.compile(needing, "int needed(void); int mhc_abi_version(void) { return needed(); }", needed.toString());
    Files.delete(needed);
    refused(needing, "libneeded.so: cannot open shared object file");
  }

  @Test
  void bundledLibraryIsUnpackedOnceAndVerified() throws Exception {
    Path cache = directory.resolve("cache");
    var first = child().options("-Dmhc.cache.dir=" + cache).runOnClassPath(DOCTOR);
    assertThat(first.output()).contains("(bundled)", "all is well");
    Path unpacked = onlyFile(cache);
    assertThat(unpacked.getParent().getFileName()).hasToString(NativeLibrary.platform());
    assertThat(unpacked.getParent().getParent().getFileName().toString()).startsWith(NativeLibrary.bindingsVersion());
    var written = Files.getLastModifiedTime(unpacked);
    assertThat(child().options("-Dmhc.cache.dir=" + cache).runOnClassPath(DOCTOR).exitCode()).isZero();
    assertThat(Files.getLastModifiedTime(onlyFile(cache))).isEqualTo(written);

    Files.writeString(unpacked, "damaged");
    var again = child().options("-Dmhc.cache.dir=" + cache).runOnClassPath(DOCTOR);
    assertThat(again.output()).contains("all is well");
    assertThat(Files.size(onlyFile(cache))).isGreaterThan(10_000);
  }

  @Test
  void nextDirectoryWhereOneCannotBeWritten() throws Exception {
    Path file = Files.writeString(directory.resolve("a-file"), "in the way");
    Path temporary = Files.createDirectory(directory.resolve("tmp"));
    var result = child().environment("XDG_CACHE_HOME", file.toString()).options("-Djava.io.tmpdir=" + temporary)
        .runOnClassPath(DOCTOR);
    assertThat(result.output()).contains("bundled: " + file.resolve("mhc") + ": cannot unpack there",
        temporary + "/mhc-", "all is well");
    var ordered = child().options("-Dmhc.cache.dir=" + file.resolve("mhc"), "-Djava.library.path=" + temporary)
        .runOnClassPath(DOCTOR);
    assertThat(ordered.output()).contains("cannot unpack there", "cannot be loaded");
    assertThat(ordered.exitCode()).isEqualTo(1);
  }

  @Test
  void libraryPathAndSystemLoaderComeLast() throws Exception {
    Path bare = directory.resolve("bindings");
    copyWithoutLibrary(ChildJvm.locationOf(NativeLibrary.class), bare);
    var onPath = child().bindings(bare).options("-Djava.library.path=" + directory + ":" + library.getParent())
        .runOnClassPath(DOCTOR);
    assertThat(onPath.output()).contains("no such resource", directory.resolve("libmhc.so") + ": no such file",
        "java.library.path: " + library + ": loaded", "all is well");
    var bySystem = child().bindings(bare).options("-Djava.library.path=" + directory)
        .environment("LD_LIBRARY_PATH", library.getParent().toString()).runOnClassPath(DOCTOR);
    assertThat(bySystem.output()).contains("system loader: ", "loaded", "all is well");
    var nowhere = child().bindings(bare).options("-Djava.library.path=" + directory).runOnClassPath(DOCTOR);
    assertThat(nowhere.output()).contains("system loader: libmhc.so: not found",
        "add the mhc-bindings jar that holds META-INF/native/" + NativeLibrary.platform() + "/libmhc.so");
    assertThat(nowhere.exitCode()).isEqualTo(1);
  }

  @Test
  @EnabledForJreRange(min = JRE.JAVA_24, disabledReason = "--illegal-native-access came with Java 24")
  void nativeAccessIsNeededByTheBindingsAlone() throws Exception {
    String main = "dev.mhc/dev.mhc.Doctor";
    String deny = "--illegal-native-access=deny";
    var granted = new ChildJvm().options(deny, "--enable-native-access=dev.mhc.bindings").runOnModulePath(main);
    assertThat(granted.output()).contains("all is well").doesNotContain("WARNING");
    assertThat(granted.exitCode()).isZero();
    var refused = new ChildJvm().options(deny).runOnModulePath(main);
    assertThat(refused.output()).contains("start java with --enable-native-access=dev.mhc.bindings");
    assertThat(refused.exitCode()).isEqualTo(1);
    var classPath = new ChildJvm().options(deny).runOnClassPath(DOCTOR);
    assertThat(classPath.output()).contains("start java with --enable-native-access=ALL-UNNAMED");
    var grantedToAll = child().options(deny).runOnClassPath(DOCTOR, "--json");
    assertThat(grantedToAll.output()).startsWith("{\"version\": ").contains("\"problem\": null, \"exitCode\": 0}")
        .doesNotContain("WARNING");
  }

  @Test
  void commandLineOfTheDoctor() throws Exception {
    var result = child().runOnClassPath(DOCTOR, "--loud");
    assertThat(result.output()).contains("usage: dev.mhc.Doctor [--json]");
    assertThat(result.exitCode()).isEqualTo(64);
  }

  private static ChildJvm child() {
    return new ChildJvm().options(GRANT);
  }

  private static void refused(Path place, String... words) throws Exception {
    var result = child().options("-Dmhc.library.path=" + place).runOnClassPath(DOCTOR);
    assertThat(result.output()).contains(words);
    assertThat(result.exitCode()).isEqualTo(1);
  }

  private static Path onlyFile(Path root) throws IOException {
    try (Stream<Path> files = Files.walk(root)) {
      var found = files.filter(Files::isRegularFile).toList();
      assertThat(found).hasSize(1);
      return found.get(0);
    }
  }

  /** From a directory of classes or from a jar. */
  private static void copyWithoutLibrary(Path from, Path to) throws IOException {
    if (Files.isDirectory(from)) {
      copyTree(from, to);
    } else {
      try (var jar = java.nio.file.FileSystems.newFileSystem(from)) {
        copyTree(jar.getPath("/"), to);
      }
    }
  }

  private static void copyTree(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path each : files.filter(f -> f.toString().endsWith(".class")).toList()) {
        Path target = to.resolve(from.relativize(each).toString());
        Files.createDirectories(target.getParent());
        Files.copy(each, target, StandardCopyOption.REPLACE_EXISTING);
      }
    }
  }
}
