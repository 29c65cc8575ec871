// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import dev.mhc.bindings.NativeLibrary.Attempt;
import java.io.IOException;
import java.nio.file.Path;

/**
 * libmhc_cuda in a jar of its own, {@code META-INF/native/<os>-<arch>/libmhc_cuda.so}: unpacked beside the bundled libmhc,
 * which looks for it there when a GPU is first asked for. Beside another libmhc nothing is put.
 */
public final class CudaLibrary {
  private static final String VARIABLE = "MHC_CUDA_LIBRARY"; // an order to libmhc, which then looks nowhere else

  private static boolean done;

  private CudaLibrary() {}

  /**
   * Unpacks it unless that was done. Call before libmhc is first asked for a GPU.
   *
   * @param libmhc that is loaded
   * @return what came of it; null if there was nothing to do
   */
  public static synchronized Attempt unpack(NativeLibrary.Loaded libmhc) {
    String ordered = System.getenv(VARIABLE);
    if (done || !libmhc.source().equals(NativeLibrary.BUNDLED) || (ordered != null && !ordered.isEmpty())) {
      return null;
    }
    done = true;
    String fileName = System.mapLibraryName("mhc_cuda");
    String resource = "META-INF/native/" + NativeLibrary.platform() + "/" + fileName;
    try (var stream = CudaLibrary.class.getClassLoader().getResourceAsStream(resource)) {
      if (stream == null) {
        return new Attempt(NativeLibrary.BUNDLED, resource, "no such resource");
      }
      Path file = LibraryCache.unpack(libmhc.path().getParent(), fileName, stream.readAllBytes());
      return new Attempt(NativeLibrary.BUNDLED, file.toString(), "unpacked");
    } catch (IOException e) {
      return new Attempt(NativeLibrary.BUNDLED, resource, "cannot be unpacked: " + e);
    }
  }
}
