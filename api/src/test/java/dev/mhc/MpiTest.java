// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Four processes under mpirun. */
@Tag("slow")
class MpiTest {
  @TempDir
  private Path directory;

  @BeforeAll
  static void mpirun() {
    boolean there = java.util.Arrays.stream(System.getenv().getOrDefault("PATH", "").split(":"))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, "mpirun")));
    Need.of("mpi", there, "there is no mpirun; install Open MPI (Debian: openmpi-bin) to test ranks in several processes");
  }

  @Test
  void everyCollective() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "collectives")).containsExactlyInAnyOrder("RANK 0/4: all is well",
        "RANK 1/4: all is well", "RANK 2/4: all is well", "RANK 3/4: all is well");
  }

  @Test
  void pipeline() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "pipeline")).hasSize(4).allSatisfy(line -> assertThat(line).endsWith("all is well"));
  }

  @Test
  void aRankThatDiesGivesTheOthersAnError() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "die")).hasSize(3).allSatisfy(line -> assertThat(line)
        .containsPattern("RANK [013]/4: RANK_ENDED: rank [013], all-reduce: ")
        .containsPattern("(process \\d+ of rank 2 has ended|rank [013] has closed its communicator)")
        .contains("| unusable | RANK_ENDED")).anySatisfy(line -> assertThat(line).contains("of rank 2 has ended"));
  }

  @Test
  void abortEndsAll() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "abort")).hasSize(4)
        .allSatisfy(line -> assertThat(line).contains("ABORTED: rank ", "| unusable |"));
  }

  @Test
  void timeout() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "late")).hasSize(4)
        .anySatisfy(line -> assertThat(line).contains("TIMEOUT: rank", "waited PT4S for rank").contains("3"));
  }

  @Test
  void mismatch() throws Exception {
    assertThat(run("dev.mhc.MpiRank", "mismatch")).anySatisfy(
        line -> assertThat(line).contains("MISMATCH: rank", "broadcast", "bytes came"));
  }

  @Test
  void example() throws Exception {
    assertThat(run("dev.mhc.examples.Ranks")).hasSize(4).allSatisfy(line -> assertThat(line).endsWith(": 2.5"));
  }

  /** A stage is a process. */
  @Test
  void wholeProgram() throws Exception {
    PipelineTest.assertWholeProgram(output("dev.mhc.examples.WholeProgram", "cpu"));
  }

  /** What the ranks said, in lines that begin with "rank". */
  private List<String> run(String main, String... arguments) throws IOException, InterruptedException {
    List<String> lines = output(main, arguments);
    List<String> said = lines.stream().filter(line -> line.toLowerCase(java.util.Locale.ROOT).startsWith("rank ")).toList();
    assertThat(said).as(String.join("\n", lines)).isNotEmpty();
    return said;
  }

  private List<String> output(String main, String... arguments) throws IOException, InterruptedException {
    Path log = directory.resolve("log");
    String path = String.join(":", ChildJvm.locationOf(Device.class).toString(),
        ChildJvm.locationOf(dev.mhc.bindings.NativeLibrary.class).toString(), ChildJvm.testClasses().toString(),
        ChildJvm.locationOf(org.assertj.core.api.Assertions.class).toString(), openBlas());
    var command = new ArrayList<>(List.of("mpirun", "-n", "4", "--allow-run-as-root", "--oversubscribe", "--enable-recovery",
        Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx1g", "-Dmhc.leak.detection=off",
        "--enable-native-access=ALL-UNNAMED", "-cp", path, main));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    boolean ended = process.waitFor(3, TimeUnit.MINUTES);
    if (!ended) {
      process.destroy(); // mpirun then ends its ranks
      process.waitFor();
    }
    String output = Files.readString(log);
    assertThat(ended).as("the ranks end:\n%s", output).isTrue();
    return output.lines().toList();
  }

  /** What is on this JVM's own path of it; nothing where it is the system's. */
  private static String openBlas() {
    return Stream.of("java.class.path", "jdk.module.path").map(name -> System.getProperty(name, ""))
        .flatMap(path -> Stream.of(path.split(":"))).filter(entry -> Path.of(entry).getFileName() != null
            && Path.of(entry).getFileName().toString().startsWith("openblas-")).distinct().collect(Collectors.joining(":"));
  }
}
