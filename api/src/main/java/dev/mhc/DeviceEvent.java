// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What an {@link Event} is on its kind of device, which knows this, and not who holds the Event. */
interface DeviceEvent {
  Device device();

  /** The stream is of the same kind of device. */
  void record(DeviceStream stream);

  boolean isDone();

  void synchronize();

  boolean isRecorded();

  /** Milliseconds, of an event that has happened, since one of the same kind of device that has. */
  double elapsed(DeviceEvent start);

  boolean isClosed();

  void close();

  default void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("the event is closed");
    }
  }
}
