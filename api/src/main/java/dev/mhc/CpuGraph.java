// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;

/** Keeps the Java code, and the memory that it may use. */
final class CpuGraph implements DeviceGraph {
  private final CpuDevice device;
  private final Memory memory;
  private Runnable operations;

  CpuGraph(CpuDevice device, Runnable operations) {
    this.device = device;
    this.operations = operations;
    memory = new Memory(device);
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
    try (var _ = device.held()) {
      requireOpen();
      memory.replace(hold(device));
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
  public BooleanSupplier closed() {
    return memory::isClosed;
  }

  @Override
  public void close() {
    memory.close();
  }

  /** What the device knows of a graph, and has to let go in the end; not the code, which may hold the graph. */
  private static final class Memory implements Child {
    private final CpuDevice device;
    private List<Storage> held = List.of(); // guarded by the device's lock
    private volatile boolean closed;

    Memory(CpuDevice device) {
      this.device = device;
      device.add(this);
    }

    void replace(List<Storage> next) {
      List<Storage> before = held;
      held = next;
      before.forEach(Storage::exportDone);
    }

    boolean isClosed() {
      return closed || device.isClosed();
    }

    @Override
    public void close() {
      try (var _ = device.held()) {
        closed = true;
        device.remove(this);
        replace(List.of());
      }
    }
  }
}
