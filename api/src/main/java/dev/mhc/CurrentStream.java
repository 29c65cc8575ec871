// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** The stream of a device that a thread's operations go to, where that is not the device's first. */
final class CurrentStream {
  private final ThreadLocal<@Nullable Stream> current = new ThreadLocal<>();

  Stream or(Stream first) {
    Stream stream = current.get();
    return stream == null ? first : stream;
  }

  void run(Stream stream, Runnable operations) {
    Stream before = current.get();
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
