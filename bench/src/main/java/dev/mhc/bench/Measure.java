// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** The native half of the benchmarks, {@code libmhc_measure} (native/bench), which the jar holds. */
public final class Measure {
  private static final String NAME = "libmhc_measure.so";

  static {
    load();
  }

  private Measure() {}

  @SuppressWarnings("restricted")
  private static void load() {
    try (InputStream library = Measure.class.getResourceAsStream(NAME)) {
      if (library == null) {
        throw new IllegalStateException(NAME + " is not in the jar; build it by: mvn package -DskipTests");
      }
      Path file = Files.createTempFile("mhc-measure", ".so");
      try {
        Files.copy(library, file, StandardCopyOption.REPLACE_EXISTING);
        System.load(file.toString());
      } finally {
        Files.delete(file); // the loader keeps what it has mapped
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Has the library loaded, for its functions that JNI finds. */
  public static void ensureLoaded() {}

  /** One of its functions; it returns a long. */
  @SuppressWarnings("restricted")
  public static MethodHandle function(String name, MemoryLayout... arguments) {
    return Linker.nativeLinker().downcallHandle(SymbolLookup.loaderLookup().find(name).orElseThrow(),
        FunctionDescriptor.of(ValueLayout.JAVA_LONG, arguments));
  }
}
