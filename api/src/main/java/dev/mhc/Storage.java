// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Memory behind tensors: owned, borrowed from the caller, or imported; owned and imported memory has a release action. Views
 * share it. Guarded by its device's lock, apart from {@link #closed}, which may be read without.
 */
final class Storage implements Child {
  final Device device;
  final MemorySegment data;
  volatile boolean closed;

  private final boolean owned;
  private final @Nullable Runnable release;
  private int exports;

  private Storage(Device device, MemorySegment data, boolean owned, @Nullable Runnable release) {
    this.device = device;
    this.data = data;
    this.owned = owned;
    this.release = release;
    device.add(this);
  }

  /** What a device gives: memory of its own, zero, and what gives it back. */
  record Memory(MemorySegment data, Runnable release) {}

  static Storage allocate(Device device, long bytes) {
    TensorAllocateEvent.commit(device, bytes);
    return of(device, device.allocate(bytes));
  }

  /** Takes over memory. */
  static Storage of(Device device, Memory memory) {
    try {
      return new Storage(device, memory.data, true, memory.release);
    } catch (RuntimeException | Error e) {
      memory.release.run();
      throw e;
    }
  }

  static Storage borrow(Device device, MemorySegment data) {
    return new Storage(device, data, false, null);
  }

  static Storage imported(Device device, MemorySegment data, Runnable release) {
    return new Storage(device, data, false, release);
  }

  /** Whether the memory can go away, or be another thread's own, without this library's doing. */
  boolean isBorrowed() {
    return !owned;
  }

  @Override
  public long ownedBytes() {
    return owned ? data.byteSize() : 0;
  }

  /** Memory that is exported stays until the last importer is done with it. */
  @Override
  public void close() {
    try (var _ = device.held()) {
      if (closed) {
        return;
      }
      if (exports == 0) {
        free();
      }
      closed = true;
      device.closings++;
    }
  }

  void export() {
    try (var _ = device.held()) {
      exports++;
    }
  }

  void exportDone() {
    try (var _ = device.held()) {
      exports--;
      if (closed && exports == 0) {
        free();
      }
    }
  }

  private void free() {
    if (release != null) {
      release.run();
    }
    device.remove(this);
  }
}
