// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A part of a device's memory where Java can reach it: on a CPU the memory itself, else a copy, which goes back when it is
 * closed if it was to be written.
 */
final class HostView implements AutoCloseable {
  final MemorySegment data;

  private final Device device;
  private final MemorySegment memory;
  private final @Nullable Arena arena;
  private final boolean writes;

  private HostView(Device device, MemorySegment memory, boolean reads, boolean writes) {
    this.device = device;
    this.memory = memory;
    this.writes = writes;
    if (device.isHost()) {
      arena = null;
      data = memory;
      return;
    }
    arena = Arena.ofConfined();
    data = arena.allocate(memory.byteSize(), 64);
    if (reads) {
      try {
        device.download(memory, data);
      } catch (RuntimeException e) {
        arena.close();
        throw e;
      }
    }
  }

  static HostView reading(Device device, MemorySegment memory) {
    return new HostView(device, memory, true, false);
  }

  /** gaps: not every byte will be written. */
  static HostView writing(Device device, MemorySegment memory, boolean gaps) {
    return new HostView(device, memory, gaps, true);
  }

  @Override
  public void close() {
    if (arena == null) {
      return;
    }
    try (arena) {
      if (writes) {
        device.upload(data, memory);
      }
    }
  }
}
