// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;

/** What was prepared on a device and owns workspace there until it or the device is closed. */
abstract class Prepared implements AutoCloseable {
  final Device device;
  private final AtomicBoolean released = new AtomicBoolean(); // outlives this, for the leak report

  Prepared(Device device) {
    this.device = device;
  }

  /** Makes one that has no owner to report its leak. */
  static <T extends Prepared> T watched(String what, Supplier<T> make) {
    T made = Device.whole(make);
    Device device = made.device;
    AtomicBoolean released = ((Prepared) made).released;
    Leaks.watch(made, what, () -> released.get() || device.isClosed());
    return made;
  }

  /** Frees the workspace. Called with the device's lock held, perhaps more than once. */
  abstract void release();

  /** Whether it can no longer be used: it or its device was closed. */
  public final boolean isClosed() {
    return released.get() || device.isClosed();
  }

  /** Frees the workspace. Does nothing when closed. */
  @Override
  public final void close() {
    try (var _ = device.held()) {
      released.set(true);
      release();
    }
  }
}
