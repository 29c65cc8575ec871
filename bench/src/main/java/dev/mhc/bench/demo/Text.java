// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Text as bytes, each one a token.
 *
 * @param source where it is from, in words
 * @param bytes the text
 */
record Text(String source, byte[] bytes) {
  /** From a file. */
  static Text of(Path file) throws IOException {
    return new Text(file.toString(), Files.readAllBytes(file));
  }

  /** The licence texts of the Java that runs this. */
  static Text ofLicences() throws IOException {
    Path legal = Path.of(System.getProperty("java.home"), "legal");
    List<Path> files;
    try (Stream<Path> found = Files.walk(legal)) {
      files = found.filter(Files::isRegularFile).sorted().collect(Collectors.toList());
    }
    var all = new java.io.ByteArrayOutputStream();
    for (Path file : files) {
      all.write(Files.readAllBytes(file));
    }
    return new Text(files.size() + " licence texts of Java " + System.getProperty("java.version"), all.toByteArray());
  }

  /** At most this many bytes of it, from the start. */
  Text first(int count) {
    return new Text(source, Arrays.copyOf(bytes, Math.min(count, bytes.length)));
  }

  /** Number of bytes. */
  int length() {
    return bytes.length;
  }

  /** The byte at a place, 0 to 255. */
  int at(int index) {
    return bytes[index] & 0xff;
  }
}
