// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;

/**
 * What a library file says of itself, asked before it is loaded for good.
 *
 * @param refusal why it must not be used, or null
 */
record Handshake(String version, int abiVersion, String refusal) {

  /** Opens the file, asks, and closes it again; null if it cannot be opened. */
  @SuppressWarnings("restricted")
  static Handshake with(Path file) {
    try (Arena arena = Arena.ofConfined()) {
      SymbolLookup symbols = SymbolLookup.libraryLookup(file, arena);
      var abiSymbol = symbols.find("mhc_abi_version");
      var versionSymbol = symbols.find("mhc_version");
      if (abiSymbol.isEmpty() || versionSymbol.isEmpty()) {
        return new Handshake("", 0, "it is another library of that name: it has no "
            + (abiSymbol.isEmpty() ? "mhc_abi_version" : "mhc_version"));
      }
      Linker linker = Linker.nativeLinker();
      int abi = (int) linker.downcallHandle(abiSymbol.get(), FunctionDescriptor.of(ValueLayout.JAVA_INT)).invokeExact();
      var text = (MemorySegment) linker
          .downcallHandle(versionSymbol.get(), FunctionDescriptor.of(ValueLayout.ADDRESS)).invokeExact();
      String version = NativeMemory.string(text);
      return new Handshake(version, abi, refusal(version, abi));
    } catch (IllegalArgumentException e) {
      return null;
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  private static String refusal(String version, int abi) {
    if (abi == mhc_h.MHC_ABI_VERSION() && !older(version)) {
      return null;
    }
    return "it is mhc " + version + " with ABI version " + abi + "; these bindings are of mhc "
        + NativeLibrary.bindingsVersion() + " with ABI version " + mhc_h.MHC_ABI_VERSION()
        + ", and take that ABI version from a library that is not older";
  }

  /** Whether a library of this version may lack a function that the bindings have: by major and minor number. */
  private static boolean older(String version) {
    String[] parts = version.split("\\.");
    try {
      int major = Integer.parseInt(parts[0]);
      int minor = Integer.parseInt(parts[1]);
      return major < mhc_h.MHC_VERSION_MAJOR()
          || (major == mhc_h.MHC_VERSION_MAJOR() && minor < mhc_h.MHC_VERSION_MINOR());
    } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
      return true;
    }
  }
}
