// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Memory behind tensors: owned (it has an arena), borrowed from the caller, or imported (it has a release action). Views
 * share it. Guarded by its device's lock, apart from {@link #closed}, which may be read without.
 */
final class Storage {
  final Device device;
  final MemorySegment data;
  volatile boolean closed;

  private final @Nullable Arena arena;
  private final @Nullable Runnable release;
  private int exports;

  private Storage(Device device, MemorySegment data, @Nullable Arena arena, @Nullable Runnable release) {
    this.device = device;
    this.data = data;
    this.arena = arena;
    this.release = release;
    device.add(this);
  }

  static Storage allocate(Device device, long bytes) {
    Arena arena = Arena.ofShared();
    try {
      TensorAllocateEvent.commit(device, bytes);
      return new Storage(device, arena.allocate(bytes, 64), arena, null);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  static Storage borrow(Device device, MemorySegment data) {
    return new Storage(device, data, null, null);
  }

  static Storage imported(Device device, MemorySegment data, Runnable release) {
    return new Storage(device, data, null, release);
  }

  /** Whether the memory can go away, or be another thread's own, without this library's doing. */
  boolean isBorrowed() {
    return arena == null;
  }

  long ownedBytes() {
    return arena == null ? 0 : data.byteSize();
  }

  /** Memory that is exported stays until the last importer is done with it. */
  void close() {
    device.lock.lock();
    try {
      if (closed) {
        return;
      }
      if (exports == 0) {
        free();
      }
      closed = true;
    } finally {
      device.lock.unlock();
    }
  }

  void export() {
    device.lock.lock();
    try {
      exports++;
    } finally {
      device.lock.unlock();
    }
  }

  void exportDone() {
    device.lock.lock();
    try {
      exports--;
      if (closed && exports == 0) {
        free();
      }
    } finally {
      device.lock.unlock();
    }
  }

  private void free() {
    if (arena != null) {
      arena.close();
    }
    if (release != null) {
      release.run();
    }
    device.remove(this);
  }
}
