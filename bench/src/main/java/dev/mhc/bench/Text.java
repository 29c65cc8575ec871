// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Text as bytes, each one a token.
 *
 * @param source where it is from, in words
 * @param bytes the text
 */
public record Text(String source, byte[] bytes) {
  /** From a file. */
  public static Text of(Path file) throws IOException {
    return new Text(file.toString(), Files.readAllBytes(file));
  }

  /** The licence texts of the Java that runs this. */
  public static Text ofLicences() throws IOException {
    Path legal = Path.of(System.getProperty("java.home"), "legal");
    List<Path> files;
    try (Stream<Path> found = Files.walk(legal)) {
      files = found.filter(Files::isRegularFile).sorted().collect(Collectors.toList());
    }
    var all = new ByteArrayOutputStream();
    for (Path file : files) {
      all.write(Files.readAllBytes(file));
    }
    return new Text(files.size() + " licence texts of Java " + System.getProperty("java.version"), all.toByteArray());
  }

  /**
   * Java sources of the module java.base of the Java that runs this, in the order of their names.
   *
   * @param count bytes, about
   * @return nothing if this Java has no sources with it
   */
  public static Optional<Text> ofSources(int count) throws IOException {
    Path sources = Path.of(System.getProperty("java.home"), "lib", "src.zip");
    if (!Files.isReadable(sources)) {
      return Optional.empty();
    }
    var all = new ByteArrayOutputStream();
    int files = 0;
    try (var zip = new ZipFile(sources.toFile())) {
      List<? extends ZipEntry> entries = zip.stream().filter(e -> e.getName().matches("java\\.base/java/.*\\.java"))
          .sorted(Comparator.comparing(ZipEntry::getName)).toList();
      for (ZipEntry entry : entries) {
        if (all.size() < count) {
          try (InputStream in = zip.getInputStream(entry)) {
            in.transferTo(all);
          }
          files++;
        }
      }
    }
    return Optional.of(new Text(files + " sources of Java " + System.getProperty("java.version"), all.toByteArray()));
  }

  /** At most this many bytes of it, from the start. */
  public Text first(int count) {
    return new Text(source, Arrays.copyOf(bytes, Math.min(count, bytes.length)));
  }

  /** Number of bytes. */
  public int length() {
    return bytes.length;
  }

  /** The byte at a place, 0 to 255. */
  public int at(int index) {
    return bytes[index] & 0xff;
  }
}
