// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;

/** The operating system's loader: where it finds a library by name, and what it says when it cannot load a file. */
final class SystemLoader {
  private static final Path MAPS = Path.of("/proc/self/maps");

  private SystemLoader() {}

  /** What asking for a name came to: the file, or in words why there is none. */
  record Answer(Path file, String problem) {}

  /** Asks the loader, which knows places that Java does not, such as ld.so.conf; where the file is, the maps say. */
  @SuppressWarnings("restricted")
  static Answer find(String fileName) {
    try (Arena arena = Arena.ofConfined()) {
      SymbolLookup.libraryLookup(fileName, arena);
      if (Files.isReadable(MAPS)) {
        for (String line : Files.readAllLines(MAPS)) {
          int start = line.indexOf('/');
          // The file may have a longer name than the link to it: libmpi.so.40 is libmpi.so.40.30.4.
          if (start >= 0 && line.substring(line.lastIndexOf('/') + 1).startsWith(fileName)) {
            return new Answer(Path.of(line.substring(start)), null);
          }
        }
      }
      return new Answer(null, "found, but not where");
    } catch (IllegalArgumentException e) {
      return new Answer(null, "not found");
    } catch (IOException e) {
      return new Answer(null, e.toString());
    }
  }

  /**
   * Loads a file for good: its functions are then found by the bindings.
   *
   * @throws UnsatisfiedLinkError if it cannot be loaded
   */
  @SuppressWarnings("restricted")
  static void load(Path file) {
    System.load(file.toString());
  }

  /** The loader's own words; they begin with the place, once or twice, which is left out. */
  static String words(UnsatisfiedLinkError error, Path file) {
    String place = file.toString();
    String said = String.valueOf(error.getMessage());
    while (said.startsWith(place + ": ")) {
      said = said.substring(place.length() + 2);
    }
    return said;
  }
}
