// SPDX-License-Identifier: Apache-2.0

/**
 * Manifold-Constrained Hyper-Connections for the JVM, on the native library libmhc.
 *
 * <p>Native calls are made by the module {@code dev.mhc.bindings}: run with
 * {@code --enable-native-access=dev.mhc.bindings}, or {@code --enable-native-access=ALL-UNNAMED} from the class path.
 */
module dev.mhc {
  requires dev.mhc.bindings;
  requires jdk.jfr;
  requires static transitive org.jspecify;

  exports dev.mhc;
}
