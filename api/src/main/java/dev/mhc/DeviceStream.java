// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What a {@link Stream} is on its kind of device, which knows this, and not who holds the Stream. */
interface DeviceStream {
  Device device();

  /** The event is of the same kind of device. */
  void await(DeviceEvent event);

  void synchronize();

  boolean isDone();

  boolean isClosed();

  void close();

  default void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("the stream is closed");
    }
  }
}
