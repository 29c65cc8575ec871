// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.Birkhoff;
import dev.mhc.Fp8;
import dev.mhc.Fp8Gemm;
import dev.mhc.Gain;
import dev.mhc.Gemm;
import dev.mhc.HyperConnection;
import dev.mhc.LayerOutput;
import dev.mhc.Muon;
import dev.mhc.RmsNorm;
import dev.mhc.bench.report.Results;
import dev.mhc.bindings.generated.mhc_h;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The suite's command line, and what the suite consists of. */
class MainTest {
  @TempDir
  Path folder;

  private final StringWriter errors = new StringWriter();

  private int run(String... arguments) {
    return Main.command().setErr(new PrintWriter(errors, true)).execute(arguments);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--nonsense", "--profile=slow", "nothing-has-this-in-its-name", "(", "-p tokens", "-p tokens=0",
      "-p tokens=many", "-p dtype=BF17", "-p colour=red", "-p device=abacus", "-p streams=17", "-p layers=0", "--compare a.json",
      "--compare a.json b.json", "--page a.json"})
  void wrongCommandLines(String arguments) {
    assertThat(run(arguments.split(" "))).isEqualTo(2);
    assertThat(errors.toString()).isNotBlank().doesNotContain("\tat ");
  }

  @Test
  void aFileThatHoldsNoResults() throws Exception {
    Path file = Files.writeString(folder.resolve("a.json"), "{}");
    assertThat(run("--page", file.toString())).isEqualTo(2);
    assertThat(errors.toString()).contains("a.json holds no results");
  }

  @Test
  void everyOperationHasABenchmark() {
    List<String> names = Suite.benchmarks().stream().map(b -> b.name().toLowerCase(Locale.ROOT)).toList();
    List<String> operations = Arrays.stream(mhc_h.class.getMethods()).map(method -> method.getName())
        .filter(name -> name.startsWith("MHC_OP_")).map(name -> name.substring(7).toLowerCase(Locale.ROOT).replace("_", ""))
        .toList();
    assertThat(operations).hasSizeGreaterThan(20);
    for (String operation : operations) {
      // fp8_quantize is fp8.quantize, post_backward post.backward, doubly_stochastic_distance a method of birkhoff.
      assertThat(names).as(operation).anySatisfy(name -> assertThat(name.replace(".", "").replace("forward", ""))
          .matches(".*" + operation.replaceFirst("backward$", ".*backward") + ".*"));
    }
  }

  @Test
  void everyReaderOfFsOutputHasABenchmarkInFp8() {
    List<String> readers = Arrays.stream(HyperConnection.class.getMethods())
        .filter(method -> List.of(method.getParameterTypes()).contains(LayerOutput.class))
        .map(method -> "fp8Output." + method.getName()).distinct().toList();
    assertThat(readers).hasSizeGreaterThan(3);
    assertThat(Suite.benchmarks()).extracting(Suite.Benchmark::name).containsAll(readers);
  }

  /** Of the header, of the Java API, or made of several of them; by the same word. */
  @Test
  void everyBenchmarkIsOfAnOperation() {
    var known = new HashSet<>(Set.of("boundaryNorm", "boundaryFp8", "fp8Output", "entry", "stack", "openBlas"));
    for (Class<?> type : List.of(Birkhoff.class, Fp8.class, Fp8Gemm.class, Gain.class, Gemm.class, Muon.class, RmsNorm.class)) {
      known.add(type.getSimpleName().substring(0, 1).toLowerCase(Locale.ROOT) + type.getSimpleName().substring(1));
    }
    Arrays.stream(mhc_h.class.getMethods()).map(method -> method.getName()).filter(name -> name.startsWith("MHC_OP_"))
        .forEach(name -> known.add(name.substring(7).toLowerCase(Locale.ROOT)));
    assertThat(Suite.benchmarks()).extracting(benchmark -> benchmark.name().replaceFirst("\\..*", "")).isSubsetOf(known);
  }

  @Test
  void aPeerThatDoesNotLoadEndsNothingElse() throws Exception {
    Path out = folder.resolve("results");
    assertThat(run("^peer broken$", "--out", out.toString())).isEqualTo(1);
    assertThat(Results.read(Path.of(out + ".json")).failures())
        .containsExactly("peer broken: java.lang.UnsatisfiedLinkError: no broken in java.library.path");
  }

  @Test
  void whatNoiseCannotChangeHolds() {
    assertThat(run("--profile", "short")).isZero();
  }
}
