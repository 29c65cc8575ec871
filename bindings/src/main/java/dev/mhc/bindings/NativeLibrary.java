// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import dev.mhc.bindings.generated.mhc_h;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Finds, checks and loads libmhc, once for the class loader that this module was loaded by.
 *
 * <p>The first of these that is there wins:
 *
 * <ol>
 *   <li>the system property {@value #PATH_PROPERTY}, a library file or a directory that holds one;
 *   <li>the environment variable {@value #PATH_VARIABLE}, likewise;
 *   <li>the library bundled with this module, {@code META-INF/native/<os>-<arch>/}, unpacked into a cache directory
 *       (see {@link LibraryCache});
 *   <li>the directories of {@code java.library.path};
 *   <li>the system's loader.
 * </ol>
 *
 * <p>A property or variable that is set is an order: what it names is loaded, or loading fails. A library is loaded only
 * if it says that it is mhc, of the ABI version of these bindings, and not older than they are.
 */
public final class NativeLibrary {
  /** System property: the library file to load, or a directory that holds it. */
  public static final String PATH_PROPERTY = "mhc.library.path";

  /** Environment variable that means the same, looked at where the property is not set. */
  public static final String PATH_VARIABLE = "MHC_LIBRARY_PATH";

  /** The source of a library that came out of a jar. */
  static final String BUNDLED = "bundled";

  /** One place that was looked at, and what came of it. */
  public record Attempt(String source, String place, String outcome) {
    @Override
    public String toString() {
      return source + ": " + place + ": " + outcome;
    }
  }

  /**
   * The library that is loaded.
   *
   * @param path the file
   * @param source which of the places had it
   * @param version what {@code mhc_version} says
   * @param abiVersion what {@code mhc_abi_version} says
   * @param attempts every place looked at on the way, this one last
   */
  public record Loaded(Path path, String source, String version, int abiVersion, List<Attempt> attempts) {}

  private static Loaded loaded;

  private final List<Attempt> attempts = new ArrayList<>();
  private Throwable lastCause;

  private NativeLibrary() {}

  /**
   * Loads the library unless that was done before. After a failure the next call tries again.
   *
   * @throws LoadFailure if no place has a library that can be used
   */
  public static synchronized Loaded load() {
    if (loaded == null) {
      loaded = new NativeLibrary().search();
    }
    return loaded;
  }

  /** The version of {@code mhc.h} that these bindings were made from. */
  public static String bindingsVersion() {
    return mhc_h.MHC_VERSION_MAJOR() + "." + mhc_h.MHC_VERSION_MINOR() + "." + mhc_h.MHC_VERSION_PATCH();
  }

  /** The option that lets this module make native calls. */
  public static String nativeAccessFlag() {
    var module = NativeLibrary.class.getModule();
    return "--enable-native-access=" + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
  }

  /** The operating system and processor as resources name them, such as {@code linux-x86_64}. */
  public static String platform() {
    String os = System.getProperty("os.name", "unknown").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch", "unknown").toLowerCase(Locale.ROOT);
    String family = os.startsWith("linux") ? "linux"
        : os.startsWith("mac") ? "macos"
        : os.startsWith("windows") ? "windows"
        : os.replace(' ', '_');
    return family + "-" + (arch.equals("amd64") ? "x86_64" : arch.equals("arm64") ? "aarch64" : arch);
  }

  private Loaded search() {
    try {
      NativeMemory.at(0, 0); // whether restricted calls are allowed, before anything depends on it
      for (String[] order : new String[][] {
        {"system property " + PATH_PROPERTY, System.getProperty(PATH_PROPERTY)},
        {"environment variable " + PATH_VARIABLE, System.getenv(PATH_VARIABLE)},
      }) {
        if (order[1] != null && !order[1].isEmpty()) {
          Loaded result = tryOrdered(order[0], Path.of(order[1]));
          if (result == null) {
            throw failure("correct " + order[0] + ", or unset it so that the other places are searched");
          }
          return result;
        }
        attempts.add(new Attempt(order[0], "-", "not set"));
      }
      Loaded result = tryBundled();
      if (result == null) {
        result = tryLibraryPath();
      }
      if (result == null) {
        result = trySystemLoader();
      }
      if (result == null) {
        throw failure("add the mhc-bindings jar that holds META-INF/native/" + platform() + "/"
            + fileName() + ", or build the library and name it with -D" + PATH_PROPERTY + "=<file or directory>");
      }
      return result;
    } catch (IllegalCallerException denied) {
      lastCause = denied;
      attempts.add(new Attempt("java", "native access", denied.getMessage()));
      throw failure("start java with " + nativeAccessFlag());
    }
  }

  private LoadFailure failure(String fix) {
    return new LoadFailure("mhc", attempts, fix, lastCause);
  }

  private Loaded tryOrdered(String source, Path place) {
    Path file = Files.isDirectory(place) ? place.resolve(fileName()) : place;
    return tryFile(source, file);
  }

  private Loaded tryBundled() {
    String resource = "META-INF/native/" + platform() + "/" + fileName();
    String source = BUNDLED;
    byte[] library;
    try (var stream = NativeLibrary.class.getModule().getResourceAsStream(resource)) {
      if (stream == null) {
        attempts.add(new Attempt(source, resource, "no such resource"));
        return null;
      }
      library = stream.readAllBytes();
    } catch (IOException e) {
      lastCause = e;
      attempts.add(new Attempt(source, resource, "not readable: " + e));
      return null;
    }
    for (Path directory : LibraryCache.directories()) {
      Path file;
      try {
        file = LibraryCache.unpack(directory, bindingsVersion(), platform(), fileName(), library);
      } catch (IOException e) {
        lastCause = e;
        attempts.add(new Attempt(source, directory.toString(), "cannot unpack there: " + e));
        continue;
      }
      Loaded result = tryFile(source, file);
      if (result != null) {
        return result;
      }
    }
    return null;
  }

  private Loaded tryLibraryPath() {
    String source = "java.library.path";
    String searchPath = System.getProperty("java.library.path", "");
    for (String directory : searchPath.split(java.io.File.pathSeparator)) {
      if (directory.isEmpty()) {
        continue;
      }
      Path file = Path.of(directory, fileName());
      if (!Files.exists(file)) {
        attempts.add(new Attempt(source, file.toString(), "no such file"));
        continue;
      }
      Loaded result = tryFile(source, file);
      if (result != null) {
        return result;
      }
    }
    return null;
  }

  private Loaded trySystemLoader() {
    String source = "system loader";
    SystemLoader.Answer answer = SystemLoader.find(fileName());
    if (answer.file() != null) {
      return tryFile(source, answer.file());
    }
    attempts.add(new Attempt(source, fileName(), answer.problem()));
    return null;
  }

  private Loaded tryFile(String source, Path given) {
    Path file = given.toAbsolutePath().normalize();
    String place = file.toString();
    if (!Files.exists(file)) {
      attempts.add(new Attempt(source, place, "no such file"));
      return null;
    }
    try {
      Handshake handshake = Handshake.with(file);
      if (handshake != null && handshake.refusal() != null) {
        attempts.add(new Attempt(source, place, "refused: " + handshake.refusal()));
        return null;
      }
      SystemLoader.load(file); // says why where the lookup above only says that it cannot
      if (handshake == null) {
        handshake = Handshake.with(file);
      }
      if (handshake == null || handshake.refusal() != null) {
        String refusal = handshake == null ? "its symbols cannot be read" : handshake.refusal();
        attempts.add(new Attempt(source, place, "refused: " + refusal));
        return null;
      }
      attempts.add(new Attempt(source, place, "loaded, version " + handshake.version()));
      return new Loaded(file, source, handshake.version(), handshake.abiVersion(), List.copyOf(attempts));
    } catch (UnsatisfiedLinkError e) {
      lastCause = e;
      attempts.add(new Attempt(source, place, SystemLoader.words(e, file)));
      return null;
    }
  }

  private static String fileName() {
    return System.mapLibraryName("mhc");
  }
}
