// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import java.nio.file.Path;

/** Where JavaCPP puts the libraries that the jar holds: by itself it would keep them among the user's files. */
final class Natives {
  private Natives() {}

  /** To be called before any class of JavaCPP is used. */
  static void ready() {
    System.setProperty("org.bytedeco.javacpp.cachedir", folder("javacpp"));
  }

  /** A folder for what a library keeps from one run to the next. */
  static String folder(String of) {
    return Path.of(System.getProperty("java.io.tmpdir"), "mhc-bench-" + of).toString();
  }
}
