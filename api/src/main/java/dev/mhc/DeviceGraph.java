// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.function.BooleanSupplier;

/** What a {@link Graph} is on its kind of device, which knows this, and not who holds the Graph. */
interface DeviceGraph {
  Device device();

  int size();

  void launch();

  void update(Runnable operations);

  /** Whether it is closed; leads to no code of the caller, which may hold the Graph. */
  BooleanSupplier closed();

  void close();

  default void requireOpen() {
    if (closed().getAsBoolean()) {
      throw new IllegalStateException("the graph is closed");
    }
  }
}
