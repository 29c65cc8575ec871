// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** The stream of a device that a thread's operations go to, where that is not the device's first. */
final class CurrentStream<S extends Stream> {
  private final ThreadLocal<@Nullable S> current = new ThreadLocal<>();

  S or(S first) {
    S stream = current.get();
    return stream == null ? first : stream;
  }

  void run(S stream, Runnable operations) {
    S before = current.get();
    current.set(stream);
    try {
      operations.run();
    } finally {
      if (before == null) {
        current.remove();
      } else {
        current.set(before);
      }
    }
  }
}
