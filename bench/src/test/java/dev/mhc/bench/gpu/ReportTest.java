// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files as gpu-check leaves them, in two folders. */
class ReportTest {
  @TempDir
  Path folder;

  private Path file(String name, String text) throws IOException {
    Path path = folder.resolve(name);
    Files.createDirectories(path.getParent());
    return Files.writeString(path, text);
  }

  private void run(String place, String gpu, String rows) throws IOException {
    file(place, """
        {"machine": {"gpu": "%s", "driver": "580", "mhc": "0.1.0", "commit": "abc", "java": "25", "date": "2026-01-02"},
         "copyGigabytesPerSecond": 4000.0, "rows": [%s]}
        """.formatted(gpu, rows));
  }

  private static String row(String operation, int tokens, int width, double time) {
    return """
        {"operation": "%s", "tokens": %d, "width": %d, "microseconds": %s, "least": %s, "most": %s, "launches": 1, "bytes": 100,
         "gigabytesPerSecond": 3600.0, "fraction": 0.9}""".formatted(operation, tokens, width, time, time - 1, time + 1);
  }

  private Report.Results results(String gpu) throws IOException {
    run("one/figures-headline-first.json", gpu, row("boundary", 8192, 4096, 200));
    run("two/figures-bench-second.json", gpu, row("boundary", 8192, 4096, 180) + "," + row("boundary_backward", 8192, 4096, 420)
        + "," + row("expand", 8192, 4096, 90) + "," + row("boundary", 8192, 1280, 60) + "," + """
            {"operation": "gemm_bf16", "tokens": 8192, "width": 8192, "microseconds": 1500.0, "least": 1490.0, "most": 1510.0,
             "launches": 1, "teraflops": 733.0}, {"operation": "*", "tokens": 1, "width": 7168, "problem": "the time was up"}""");
    file("two/figures-peers-second.json", """
        {"machine": {"gpu": "x"}, "peers": [
          {"peer": "PyTorch, eager", "operation": "boundary", "tokens": 8192, "width": 4096, "microseconds": 1800.0,
           "least": 1790.0, "most": 1900.0},
          {"peer": "PyTorch, eager", "operation": "boundary and backward", "tokens": 8192, "width": 4096, "microseconds": 6000.0,
           "least": 5990.0, "most": 6100.0},
          {"peer": "PyTorch, compiled", "operation": "boundary", "tokens": 8192, "width": 4096, "problem": "no compiler"}]}
        """);
    file("one/results-first.json", """
        {"run": "first", "commit": "abc", "gpu": "H200, 580", "date": "2026-01-02", "steps": [
          {"step": "native boundary_test", "outcome": "passed", "seconds": 3, "note": "8 of 8 passed"},
          {"step": "java MuonTest", "outcome": "FAILED", "seconds": 4, "note": "a | b"}]}
        """);
    file("one/log-first.txt", "not json");
    return Report.read(List.of(folder.resolve("one"), folder.resolve("two")));
  }

  @Test
  void hasEveryFigureOnceAndEveryStep() throws IOException {
    Report.Results results = results("NVIDIA H200");
    assertThat(Report.name(results)).isEqualTo("nvidia-h200-2026-01-02");
    String page = Report.page(results);
    assertThat(page).contains("# NVIDIA H200", "4000, 4000 GB/s", "| boundary | 8192 | 1280 | 60.00 |", "| expand | 8192 | 4096 |",
        "| gemm_bf16 | 8192 | 1500.0 | 1490.0 to 1510.0 | 733.0 |", "| * | 1 | 7168 | the time was up |", "no compiler",
        "## gpu-check first", "| native boundary_test | passed | 3 | 8 of 8 passed |", "| java MuonTest | FAILED | 4 | a \\| b |")
        .doesNotContain("stand-ins");
    assertThat(page).containsOnlyOnce("\n| boundary | 8192 | 4096 |").contains("180.0 | 179.0 to 181.0 | 1 | 3600 | 0.90 |");
  }

  /** Beside ours: 1800 / 180, and 6000 / (180 + 420). */
  @Test
  void comparesPeersWithTheSameShape() throws IOException {
    assertThat(Report.page(results("NVIDIA H200"))).contains(
        "| PyTorch, eager | boundary | 8192 | 4096 | 1800.0 | 1790.0 to 1900.0 | 10.0 |",
        "| PyTorch, eager | boundary and backward | 8192 | 4096 | 6000.0 | 5990.0 to 6100.0 | 10.0 |");
  }

  @Test
  void takesThePlaceOfTheReadmesTable() throws IOException {
    String before = "a\n" + Report.BEGIN + "\nNot yet.\n" + Report.END + "\nb\n";
    String once = Report.inserted(before, Report.summary(results("NVIDIA H200")));
    assertThat(once).startsWith("a\n").endsWith("\nb\n").contains("| boundary_backward | 8192 | 4096 | 420.0 |", "| 10.0 |")
        .doesNotContain("Not yet", "expand", "1280", "gemm", "no compiler");
    assertThat(Report.inserted(once, Report.summary(results("NVIDIA H200")))).isEqualTo(once);
    assertThatThrownBy(() -> Report.inserted("a", "b")).hasMessageContaining(Report.BEGIN);
  }

  @Test
  void theReadmeHasThePlace() throws IOException {
    assertThat(Report.inserted(Files.readString(Path.of("README.md")), "table")).contains(Report.BEGIN + "\ntable\n" + Report.END);
  }

  /** What was tried without a GPU is called that, and changes no readme. */
  @Test
  void standInsAreNoGpu() throws IOException {
    Report.Results results = results("executor on the CPU");
    assertThat(Report.page(results)).contains("no figure here is a GPU's");
    Path readme = file("README.md", Report.BEGIN + "Not yet." + Report.END);
    String before = Files.readString(readme);
    Report.main("--readme", readme.toString(), "--out", folder.resolve("out/page").toString(), folder.resolve("one").toString(),
        folder.resolve("two").toString());
    assertThat(readme).hasContent(before);
    assertThat(folder.resolve("out/page.md")).content().contains("| boundary | 8192 | 4096 |");
    assertThat(folder.resolve("out/page.json")).content().contains("\"problem\": \"the time was up\"");
  }

  @Test
  void aFileThatIsBrokenIsNamed() throws IOException {
    Path broken = file("one/figures-bench-first.json", "{\"rows\": [");
    assertThatThrownBy(() -> Report.read(List.of(broken.getParent()))).isInstanceOf(IOException.class)
        .hasMessageContaining(broken.toString());
  }
}
