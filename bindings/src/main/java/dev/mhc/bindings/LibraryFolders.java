// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.UnaryOperator;

/** Folders by pattern. */
final class LibraryFolders {
  private LibraryFolders() {}

  /** The folders that a pattern of {@link LibrarySpec#folders} stands for; those without a star need not exist. */
  static List<Path> matching(String pattern, UnaryOperator<String> environment) {
    String text = pattern;
    if (text.startsWith("$")) {
      int end = text.indexOf('/') < 0 ? text.length() : text.indexOf('/');
      String value = environment.apply(text.substring(1, end));
      if (value == null || value.isEmpty()) {
        return List.of();
      }
      text = value + text.substring(end);
    }
    List<Path> found = List.of(Path.of("/"));
    for (Path part : Path.of(text).toAbsolutePath().normalize()) {
      var next = new ArrayList<Path>();
      for (Path folder : found) {
        next.addAll(part.toString().contains("*") ? list(folder, part.toString()) : List.of(folder.resolve(part)));
      }
      found = next;
    }
    return found;
  }

  private static List<Path> list(Path folder, String glob) {
    var names = new ArrayList<Path>();
    if (Files.isDirectory(folder)) {
      try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, glob)) {
        entries.forEach(names::add);
      } catch (IOException e) {
        return List.of(); // not ours to read
      }
    }
    names.sort(Comparator.reverseOrder());
    return names;
  }
}
