// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import dev.mhc.bindings.NativeLibrary.Attempt;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * Finds and loads a library that is not ours. The first of these places that has it wins: the system property, the
 * environment variable, the bundle, the folders of the {@link LibrarySpec}, the system's loader. A property or variable
 * that is set is an order: a place that it names has the library, or loading fails.
 */
final class LibrarySearch {
  private final LibrarySpec spec;
  private final UnaryOperator<String> properties;
  private final UnaryOperator<String> environment;
  private final List<Attempt> attempts = new ArrayList<>();
  private Throwable lastCause;

  LibrarySearch(LibrarySpec spec, UnaryOperator<String> properties, UnaryOperator<String> environment) {
    this.spec = spec;
    this.properties = properties;
    this.environment = environment;
  }

  /**
   * Searches, and loads what it finds.
   *
   * @throws LoadFailure if no place has a library that can be loaded
   */
  VendorLibrary.Loaded run() {
    try {
      NativeMemory.at(0, 0); // whether restricted calls are allowed, before anything depends on it
    } catch (IllegalCallerException denied) {
      lastCause = denied;
      attempts.add(new Attempt("java", "native access", denied.getMessage()));
      throw failure("start java with " + NativeLibrary.nativeAccessFlag());
    }
    VendorLibrary.Loaded result = ordered("system property " + spec.property(), properties.apply(spec.property()));
    if (result == null) {
      result = ordered("environment variable " + spec.variable(), environment.apply(spec.variable()));
    }
    if (result == null) {
      result = bundled();
    }
    if (result == null) {
      result = folders();
    }
    if (result == null) {
      result = systemLoader();
    }
    if (result == null) {
      throw failure(spec.fix());
    }
    return result;
  }

  private LoadFailure failure(String fix) {
    return new LoadFailure(spec.name(), attempts, fix, lastCause);
  }

  private VendorLibrary.Loaded ordered(String source, String places) {
    if (places == null || places.isEmpty()) {
      attempts.add(new Attempt(source, "-", "not set"));
      return null;
    }
    for (String place : places.split(File.pathSeparator)) {
      Path path = Path.of(place).toAbsolutePath().normalize();
      VendorLibrary.Loaded result = Files.isDirectory(path) ? folder(source, path) : file(source, path);
      if (result != null) {
        return result;
      }
    }
    throw failure("correct " + source + ", or unset it so that the other places are searched");
  }

  private VendorLibrary.Loaded bundled() {
    if (spec.bundle().isEmpty()) {
      return null;
    }
    for (Path directory : LibraryCache.directories()) {
      VendorLibrary.Loaded result = null;
      for (String resource : spec.bundle()) {
        Path file = unpack(directory, resource);
        result = file == null ? null : file("bundled", file);
        if (result == null) {
          break;
        }
      }
      if (result != null) {
        return result;
      }
    }
    return null;
  }

  private Path unpack(Path directory, String resource) {
    String name = resource.substring(resource.lastIndexOf('/') + 1);
    try (var stream = LibrarySearch.class.getClassLoader().getResourceAsStream(resource)) {
      if (stream == null) {
        attempts.add(new Attempt("bundled", resource, "no such resource"));
        return null;
      }
      return LibraryCache.unpack(directory, NativeLibrary.bindingsVersion(), NativeLibrary.platform(), name,
          stream.readAllBytes());
    } catch (IOException e) {
      lastCause = e;
      attempts.add(new Attempt("bundled", directory.toString(), "cannot unpack there: " + e));
      return null;
    }
  }

  private VendorLibrary.Loaded folders() {
    for (String pattern : spec.folders()) {
      List<Path> folders = LibraryFolders.matching(pattern, environment);
      if (folders.isEmpty()) {
        boolean unset = pattern.startsWith("$");
        attempts.add(new Attempt("folder", pattern, unset ? "the variable is not set, or nothing matches" : "nothing matches"));
      }
      for (Path folder : folders) {
        VendorLibrary.Loaded result = folder("folder", folder);
        if (result != null) {
          return result;
        }
      }
    }
    return null;
  }

  /** Looks into a folder and into those below it that libraries are put in. */
  private VendorLibrary.Loaded folder(String source, Path folder) {
    boolean any = false;
    for (Path place : below(folder)) {
      for (String fileName : spec.fileNames()) {
        Path file = place.resolve(fileName);
        if (Files.exists(file)) {
          any = true;
          VendorLibrary.Loaded result = file(source, file);
          if (result != null) {
            return result;
          }
        }
      }
    }
    if (!any) {
      attempts.add(new Attempt(source, folder.toString(), Files.isDirectory(folder)
          ? "no " + String.join(" or ", spec.fileNames()) + " there, nor in its " + String.join(", ", spec.below())
          : "no such folder"));
    }
    return null;
  }

  private List<Path> below(Path folder) {
    var places = new ArrayList<Path>();
    places.add(folder);
    spec.below().forEach(name -> places.add(folder.resolve(name)));
    return places;
  }

  private VendorLibrary.Loaded systemLoader() {
    for (String fileName : spec.fileNames()) {
      SystemLoader.Answer answer = SystemLoader.find(fileName);
      if (answer.file() == null) {
        attempts.add(new Attempt("system loader", fileName, answer.problem()));
        continue;
      }
      VendorLibrary.Loaded result = file("system loader", answer.file());
      if (result != null) {
        return result;
      }
    }
    return null;
  }

  private VendorLibrary.Loaded file(String source, Path file) {
    String place = file.toString();
    if (!Files.exists(file)) {
      attempts.add(new Attempt(source, place, "no such file"));
      return null;
    }
    try {
      SystemLoader.load(file);
    } catch (UnsatisfiedLinkError e) {
      lastCause = e;
      attempts.add(new Attempt(source, place, SystemLoader.words(e, file)));
      return null;
    }
    attempts.add(new Attempt(source, place, "loaded"));
    return new VendorLibrary.Loaded(file, source, List.copyOf(attempts));
  }
}
