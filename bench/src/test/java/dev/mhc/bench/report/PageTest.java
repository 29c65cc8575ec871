// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

class PageTest {
  @TempDir
  Path folder;

  private final Results results = Samples.results(1, 1, 1);

  @Test
  void needsNothingElse() {
    assertThat(Page.of(results)).doesNotContain("src=", "href=", "@import", "url(").contains("CPU &amp; co", "a &lt;call&gt;");
  }

  @Test
  void plotsAreXmlInsideTheirFrames() throws Exception {
    var plots = Pattern.compile("<svg.*?</svg>", Pattern.DOTALL).matcher(Page.of(results));
    int found = 0;
    while (plots.find()) {
      Document plot = DocumentBuilderFactory.newInstance().newDocumentBuilder()
          .parse(new ByteArrayInputStream(plots.group().getBytes(StandardCharsets.UTF_8)));
      double width = Double.parseDouble(plot.getDocumentElement().getAttribute("width"));
      double height = Double.parseDouble(plot.getDocumentElement().getAttribute("height"));
      var dots = plot.getElementsByTagName("circle");
      for (int i = 0; i < dots.getLength(); i++) {
        var dot = (Element) dots.item(i);
        assertThat(Double.parseDouble(dot.getAttribute("cx"))).isBetween(0.0, width);
        assertThat(Double.parseDouble(dot.getAttribute("cy"))).isBetween(0.0, height);
      }
      found++;
    }
    // roofline, limits, forms, with the norm, F's output in FP8, products, curves by tokens and by layers, calls, memory
    assertThat(found).isEqualTo(10);
  }

  @Test
  void productsAndStacksHavePlotsOfTheirOwn() {
    assertThat(Page.of(results)).contains("Multiply-adds a second, T=2048 C=2560, all threads", ">muon.step bf16<",
        "stack by layers", ">with backward<", "L=4");
    String roofline = Page.of(results).replaceFirst("(?s).*?Roofline(.*?)</svg>.*", "$1");
    assertThat(roofline).contains("boundary.forward").doesNotContain("gemm.run", "stack.forward");
  }

  @Test
  void everyBenchmarkIsInTheTables() {
    for (Measurement each : results.measurements()) {
      assertThat(Page.of(results)).contains("<td>" + each.name() + "</td>");
      assertThat(Tables.markdown(results)).contains("| " + each.name() + " |");
    }
    // 50 KB a token at 50 GB/s are 1.02 us; 3e5 multiply-adds at 250 G/s are 1.2 us; the boundary takes 2 us.
    assertThat(Tables.markdown(results)).containsPattern("boundary.forward \\| T=2048 .* multiply-adds \\| (59|60|61) % \\| 10 C");
  }

  @Test
  void floorsAreShownApart() {
    assertThat(Page.of(results)).contains(Floors.TITLE);
    // Of 4.1 ms, bytes take 2.05 and multiply-adds 2.46: they overlap. The backward's 8.2 ms are longer than both.
    assertThat(Floors.rows(results)).filteredOn(row -> row.get(0).equals("boundary.forward")).singleElement()
        .satisfies(row -> assertThat(row.get(2)).matches("2\\.\\d+ ms, (49|50|51) %"))
        .satisfies(row -> assertThat(row.get(3)).matches("2\\.\\d+ ms, (59|60|61) %"))
        .satisfies(row -> assertThat(row.get(5)).isEqualTo("nothing"));
    assertThat(Floors.rows(results)).filteredOn(row -> row.get(0).equals("boundary.backward")).singleElement()
        .satisfies(row -> assertThat(row.get(5)).endsWith(" %"));
    assertThat(Tables.markdown(results)).contains("## " + Floors.TITLE, "| boundary.forward | ");
  }

  @Test
  void ticksAreRound() {
    assertThat(Plot.ticks(0, 9.3, false, 5)).containsExactly(0.0, 2.0, 4.0, 6.0, 8.0);
    assertThat(Plot.ticks(0.9, 60, true, 5)).containsExactly(1.0, 2.0, 5.0, 10.0, 20.0, 50.0);
    assertThat(Plot.ticks(1.4, 6, true, 5)).containsExactly(1.5, 2.0, 3.0, 5.0);
  }

  @Test
  void valuesBelowZeroAreInThePlotAndZerosAloneToo() {
    for (double[] y : new double[][] {{0, -1, 0.5}, {0, 0, 0}, {}}) {
      String svg = new Plot("title", "x", "y", 400, 300).curve("", 0, new double[] {1, 2, 3}, y).svg();
      List<String> heights = Pattern.compile("[ML][0-9.]+ (-?[0-9.]+)").matcher(svg.substring(svg.indexOf("class='line")))
          .results().map(place -> place.group(1)).toList();
      assertThat(heights).hasSize(y.length).allSatisfy(
          each -> assertThat(Double.parseDouble(each)).isBetween(58.0, 256.0)); // between the axes
      assertThat(svg).doesNotContain("NaN");
    }
  }

  @Test
  void aFileHoldsWhatWasWritten() throws IOException {
    Path file = folder.resolve("results.json");
    results.write(file);
    Results read = Results.read(file);
    assertThat(read.machine()).isEqualTo(results.machine());
    assertThat(read.steps()).isEqualTo(results.steps());
    assertThat(read.measurements()).hasSameSizeAs(results.measurements());
    for (int i = 0; i < read.measurements().size(); i++) {
      assertThat(read.measurements().get(i).key()).isEqualTo(results.measurements().get(i).key());
      assertThat(read.measurements().get(i).time().value() / results.measurements().get(i).time().value())
          .isCloseTo(1, within(1e-4));
    }
  }

  @Test
  void otherFilesAreRefused() throws IOException {
    Path file = folder.resolve("other.json");
    for (String text : new String[] {"", "{}", "[1]", "not JSON"}) {
      Files.writeString(file, text);
      assertThatThrownBy(() -> Results.read(file)).isInstanceOf(IOException.class).hasMessageContaining("no results");
    }
  }
}
