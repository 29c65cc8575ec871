// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MainTest {
  private static final String[] SMALL = {"--layers", "1", "--width", "16", "--heads", "2", "--context", "8", "--batch", "2",
      "--threads", "1", "--check-every", "2"};

  @TempDir
  Path folder;

  private final StringWriter said = new StringWriter();

  private int run(String... arguments) throws IOException {
    Path text = folder.resolve("text");
    Files.write(text, Small.text().bytes());
    var all = new ArrayList<>(List.of(SMALL));
    all.addAll(List.of("--text", text.toString(), "--out", folder.toString()));
    all.addAll(List.of(arguments));
    var writer = new PrintWriter(said, true);
    return Main.command(writer, writer).setOverwrittenOptionsAllowed(true).execute(all.toArray(String[]::new));
  }

  @Test
  void trainsSideBySideAndReports() throws Exception {
    assertThat(run("--steps", "6", "--kinds", "residual,hc,mhc,mhc_lite", "--recompute", "auto", "--precision", "bf16")).isZero();
    String page = Files.readString(folder.resolve("report.html"));
    assertThat(page).contains("Loss on held-out text", "less that of residual", "Composite, forward", "Gradient norm", "What a step takes",
        "What mhc holds in a step", "mhc_lite: all", "residuals recomputed", "streams in mhc BF16");
    assertThat(page).doesNotContain("src=", "href=", "@import", "url(", "NaN");
    var plots = Pattern.compile("<svg.*?</svg>", Pattern.DOTALL).matcher(page);
    int found = 0;
    while (plots.find()) {
      DocumentBuilderFactory.newInstance().newDocumentBuilder()
          .parse(new ByteArrayInputStream(plots.group().getBytes(StandardCharsets.UTF_8)));
      found++;
    }
    assertThat(found).isEqualTo(4 + 6 + 3 + 2); // losses, gains, mixes of all but the residual, cost
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {"--heads 3|--heads is 3; expected a divisor of --width, 16",
      "--layers 0|--layers is 0; expected 1 to 500", "--rate 2|--rate is 2.0; expected above 0 to 1",
      "--context 2000|--text has 4", "--text nowhere|--text is nowhere, which cannot be read",
      "--resume nowhere|--resume is nowhere, which does not exist", "--kinds mhc,mhc|expected each kind once"})
  void wrongOptions(String options, String message) throws IOException {
    assertThat(run(options.split(" "))).isEqualTo(2);
    assertThat(said.toString()).contains(message);
  }

  @Test
  @Tag("slow")
  void aSignalSavesAndResumingEndsWithTheBitsOfAWholeRun() throws Exception {
    String[] many = {"--kinds", "mhc", "--steps", "400"};
    var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "--enable-native-access=ALL-UNNAMED", "-Dai.djl.offline=true", "-DOPT_OUT_TRACKING=true",
        "-DDJL_CACHE_DIR=" + System.getProperty("DJL_CACHE_DIR"), "-cp", System.getProperty("java.class.path"),
        Main.class.getName()));
    Path text = folder.resolve("text");
    Files.write(text, Small.text().bytes());
    Path stopped = folder.resolve("stopped");
    command.addAll(List.of(SMALL));
    command.addAll(List.of("--text", text.toString(), "--out", stopped.toString(), "--save-every", "20"));
    command.addAll(List.of(many));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(folder.resolve("said").toFile())
        .start();
    Path saved = stopped.resolve("mhc-1-1");
    for (int i = 0; i < 600 && (!Files.isDirectory(saved) || Checkpoint.last(saved).isEmpty()); i++) {
      Thread.sleep(50);
    }
    process.destroy();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(Files.readString(folder.resolve("said"))).contains("saved ");
    Path last = Checkpoint.last(saved).orElseThrow();
    assertThat(Checkpoint.read(last).step()).isBetween(20, 399);

    assertThat(run("--resume", stopped.toString())).as(said.toString()).isZero();
    assertThat(run(many)).isZero();
    assertThat(values(saved)).isEqualTo(values(folder.resolve("mhc-1-1")));
  }

  private static byte[] values(Path run) throws IOException {
    SafeTensors.Values head = SafeTensors.read(Checkpoint.last(run).orElseThrow()).tensors().get("head");
    return head.data().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
  }
}
