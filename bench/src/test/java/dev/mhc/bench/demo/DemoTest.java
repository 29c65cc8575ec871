// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A small demo, and wrong command lines. */
class DemoTest {
  private static final int LAYERS = 24;

  @TempDir
  static Path folder;

  private static Result demo;

  record Result(int code, String output, String errors) {}

  static Result run(String... arguments) {
    var output = new StringWriter();
    var errors = new StringWriter();
    int code = Main.command(new PrintWriter(output), new PrintWriter(errors, true)).execute(arguments);
    return new Result(code, output.toString(), errors.toString());
  }

  @BeforeAll
  static void small() {
    System.setProperty("java.awt.headless", "true");
    demo = run("--layers", String.valueOf(LAYERS), "--width", "64", "--tokens", "48", "--timed-tokens", "16",
        "--timed-width", "64", "--out", folder.resolve("out").toString());
  }

  @Test
  void endsWell() {
    assertThat(demo.errors()).isEmpty();
    assertThat(demo.code()).isZero();
    assertThat(demo.output()).contains("libmhc", "single pass", "copy of", "licence texts");
  }

  @Test
  void unconstrainedMixesExplodeAndDoublyStochasticOnesDoNot() throws Exception {
    assertThat(gain("hc", 2)).isGreaterThan(10);
    assertThat(gain("hc", 3)).isGreaterThan(10);
    for (String kind : List.of("residual", "mhc", "mhc_lite")) {
      assertThat(gain(kind, 2)).as(kind).isBetween(0.999, 1.01);
      assertThat(gain(kind, 3)).as(kind).isBetween(0.999, 1.6);
    }
  }

  @Test
  void everyDepthHasANumber() throws Exception {
    List<String> lines = Files.readAllLines(folder.resolve("out/gain.csv"));
    assertThat(lines).hasSize(1 + Kind.values().length * LAYERS);
    assertThat(lines.subList(1, lines.size())).noneMatch(line -> line.contains("NaN") || line.contains("Infinity"));
  }

  @Test
  void countedTrafficIsTheLedgers() {
    assertThat(demo.output().lines().filter(line -> line.endsWith("!"))).isEmpty();
    assertThat(demo.output()).containsPattern("single pass +5 +5 +5 +5 +10 +10")
        .containsPattern("two passes +9 +9 +5 +5 +14 +14").containsPattern("three kernels +13 +13 +5 +5 +18 +18")
        .containsPattern("Table 2\\) +22 +22 +13 +13 +35 +35").containsPattern("backward, single pass +10 +10 +5 +5 +15 +15");
  }

  @Test
  void plotShowsLines() throws Exception {
    BufferedImage image = ImageIO.read(folder.resolve("out/gain.png").toFile());
    assertThat(image.getWidth()).isGreaterThan(1000);
    var colors = new HashSet<Integer>();
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        colors.add(image.getRGB(x, y) & 0xffffff);
      }
    }
    assertThat(colors).contains(0xc82828, 0x145ac8, 0xf09600); // hc, mhc, mhc_lite
  }

  private static double gain(String kind, int column) throws Exception {
    return Files.readAllLines(folder.resolve("out/gain.csv")).stream().map(line -> line.split(","))
        .filter(cells -> cells[0].equals(kind) && cells[1].equals(String.valueOf(LAYERS)))
        .mapToDouble(cells -> Double.parseDouble(cells[column])).findFirst().orElseThrow();
  }

  @Test
  void wrongCommandLinesSayWhatIsWrong() throws Exception {
    Path empty = Files.createFile(folder.resolve("empty"));
    wrong("no-such-file", "--text", "no-such-file");
    wrong("0 bytes", "--text", empty.toString());
    wrong("--layers is 0; expected 1 to 1000", "--layers", "0");
    wrong("many", "--tokens", "many");
    wrong("--scale is NaN", "--scale", "NaN");
    wrong("--colour", "--colour", "red");
    wrong("--out is", "--out", empty.resolve("below").toString());
    wrong("MiB", "--layers", "1000", "--tokens", "1000000", "--width", "65536");
  }

  private static void wrong(String words, String... arguments) {
    Result result = run(arguments);
    assertThat(result.code()).as(words).isEqualTo(2);
    assertThat(result.errors()).startsWith("demo: ").contains(words).hasLineCount(1);
    assertThat(result.output()).isEmpty();
  }

  @Test
  void helpListsTheOptions() {
    Result help = run("--help");
    assertThat(help.code()).isZero();
    assertThat(help.output()).contains("--text", "--layers", "--out");
  }
}
