// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.List;

/** Keeps the Java code, and the memory that it may use. */
final class CpuGraph extends Graph {
  private final CpuDevice device;
  private Runnable operations;
  private List<Storage> held;
  private volatile boolean closed;

  CpuGraph(CpuDevice device, Runnable operations) {
    this.device = device;
    this.operations = operations;
    held = List.of();
    update(operations);
  }

  @Override
  public int size() {
    return 1;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void launch() {
    requireOpen();
    operations.run();
  }

  @Override
  public void update(Runnable next) {
    Check.given("operations", next, "what to capture");
    try (var _ = device.held()) {
      requireOpen();
      List<Storage> before = held;
      held = hold(device);
      before.forEach(Storage::exportDone);
      operations = next;
    }
  }

  /** Keeps the memory of what is open on a device; call with its lock held. */
  static List<Storage> hold(Device device) {
    var storages = new ArrayList<Storage>();
    for (Child child : device.children()) {
      if (child instanceof Storage storage && !storage.closed) {
        storage.export();
        storages.add(storage);
      }
    }
    return storages;
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    try (var _ = device.held()) {
      closed = true;
      held.forEach(Storage::exportDone);
      held = List.of();
    }
  }
}
