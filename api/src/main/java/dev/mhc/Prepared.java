// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What was prepared on a device and owns workspace there until it or the device is closed. */
abstract class Prepared implements AutoCloseable {
  final Device device;

  Prepared(Device device) {
    this.device = device;
  }

  /** Called with the device's lock held, as is the next. */
  abstract boolean isReleased();

  abstract void release();

  /** Whether it can no longer be used: it or its device was closed. */
  public final boolean isClosed() {
    try (var _ = device.held()) {
      return isReleased();
    }
  }

  /** Frees the workspace. Does nothing when closed. */
  @Override
  public final void close() {
    try (var _ = device.held()) {
      release();
    }
  }
}
