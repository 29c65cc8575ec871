// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.examples.QuickStart;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Code in the README is code that is compiled and run: above each block stands, in a comment, the file and the region that
 * it repeats. Links lead somewhere, and the version is the one that is built.
 */
class ReadmeTest {
  private static final Path ROOT = Path.of(System.getProperty("mhc.native.dir")).getParent();
  private static final Pattern BLOCK = Pattern.compile("(?m)^(?:<!-- code: (\\S+) (\\S+) -->\n)?```(\\w+)\n((?s:.*?))^```$");
  private static final Pattern LINK = Pattern.compile("]\\((?!https?:)([^)#]+)");
  private static final Pattern VERSION = Pattern.compile("<artifactId>mhc(?:-parent)?</artifactId>\\s*<version>(.*?)<");

  static Stream<String[]> code() {
    return BLOCK.matcher(read("README.md")).results().filter(m -> !m.group(3).equals("xml"))
        .map(m -> new String[] {m.group(1), m.group(2), m.group(4)});
  }

  @ParameterizedTest(name = "{0} {1}")
  @MethodSource
  void code(String file, String region, String text) {
    assertThat(file).as("the file that this block repeats:\n" + text).isNotNull();
    assertThat(text.lines().toList()).isEqualTo(region(file, region));
  }

  @Test
  void quickStart() {
    QuickStart.main(); // the C and the Python program are run by scripts/test
  }

  @Test
  void links() {
    List<String> links = LINK.matcher(read("README.md")).results().map(m -> m.group(1)).toList();
    assertThat(links).isNotEmpty().allSatisfy(link -> assertThat(ROOT.resolve(link)).exists());
  }

  @Test
  void version() {
    assertThat(version("README.md")).isEqualTo(version("pom.xml"));
  }

  private static String version(String file) {
    Matcher matcher = VERSION.matcher(read(file));
    assertThat(matcher.find()).as("a version in " + file).isTrue();
    return matcher.group(1);
  }

  /** The lines between {@code @start region="..."} and the next {@code @end}, without the indentation that all have. */
  private static List<String> region(String file, String name) {
    var lines = new ArrayList<String>();
    boolean inside = false;
    for (String line : read(file).lines().toList()) {
      if (line.contains("@start region=\"" + name + "\"")) {
        inside = true;
      } else if (inside && line.contains("@end")) {
        return String.join("\n", lines).stripIndent().lines().toList();
      } else if (inside) {
        lines.add(line);
      }
    }
    throw new AssertionError(file + " has no region " + name);
  }

  private static String read(String file) {
    try {
      return Files.readString(ROOT.resolve(file));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
