// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bindings;

import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * Where the bundled library is unpacked: {@code <directory>/<version>-<hash>/<os>-<arch>/}, written once and verified
 * by its hash before each use. The directory is that of the system property {@value #DIRECTORY_PROPERTY}, and nothing
 * else if it is set; else the user's cache, else one of the user's own under {@code java.io.tmpdir}: the next one is
 * tried where the former cannot be written or forbids to execute.
 */
final class LibraryCache {
  static final String DIRECTORY_PROPERTY = "mhc.cache.dir";

  private LibraryCache() {}

  static List<Path> directories() {
    String ordered = System.getProperty(DIRECTORY_PROPERTY);
    if (ordered != null && !ordered.isEmpty()) {
      return List.of(Path.of(ordered));
    }
    var directories = new ArrayList<Path>();
    String cache = System.getenv("XDG_CACHE_HOME");
    String home = System.getProperty("user.home");
    if (cache != null && Path.of(cache).isAbsolute()) {
      directories.add(Path.of(cache, "mhc"));
    } else if (home != null && Path.of(home).isAbsolute()) {
      directories.add(Path.of(home, ".cache", "mhc"));
    }
    directories.add(Path.of(System.getProperty("java.io.tmpdir", "."), "mhc-" + System.getProperty("user.name", "user")));
    return directories;
  }

  static Path unpack(Path directory, String version, String platform, String fileName, byte[] library)
      throws IOException {
    String hash = hash(library);
    Path home = directory.toAbsolutePath().resolve(version + "-" + hash.substring(0, 16)).resolve(platform);
    Path file = home.resolve(fileName);
    if (isIntact(file, hash)) {
      return file;
    }
    Files.createDirectories(home);
    ownerOnly(directory);
    return write(file, library, hash);
  }

  /** Into a directory that another library was unpacked to. */
  static Path unpack(Path home, String fileName, byte[] library) throws IOException {
    String hash = hash(library);
    Path file = home.resolve(fileName);
    return isIntact(file, hash) ? file : write(file, library, hash);
  }

  private static Path write(Path file, byte[] library, String hash) throws IOException {
    Path fresh = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part"); // readable by its owner alone
    try {
      Files.write(fresh, library);
      try {
        Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException e) {
        Files.move(fresh, file, StandardCopyOption.REPLACE_EXISTING);
      }
    } finally {
      Files.deleteIfExists(fresh);
    }
    if (!isIntact(file, hash)) {
      throw new IOException(file + " does not hold what was written to it");
    }
    return file;
  }

  /** A directory that others can write to could be given another library between the check and the load. */
  private static void ownerOnly(Path directory) throws IOException {
    if (!Files.getFileStore(directory).supportsFileAttributeView("posix")) {
      return;
    }
    String user = System.getProperty("user.name", "");
    if (!Files.getOwner(directory).getName().equals(user)) {
      throw new IOException(directory + " belongs to " + Files.getOwner(directory).getName() + ", not to " + user);
    }
    var permissions = Files.getPosixFilePermissions(directory);
    if (permissions.removeIf(p -> p.name().startsWith("GROUP_W") || p.name().startsWith("OTHERS_W"))) {
      Files.setPosixFilePermissions(directory, permissions);
    }
  }

  private static boolean isIntact(Path file, String hash) throws IOException {
    return Files.isRegularFile(file) && hash(Files.readAllBytes(file)).equals(hash);
  }

  private static String hash(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }
}
