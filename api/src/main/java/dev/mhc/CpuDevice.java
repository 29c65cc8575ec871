// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_context_options;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The CPU backend of libmhc. */
final class CpuDevice extends Device {
  private final Stream first = new Stream(new CpuStream(this, false), Stream.Priority.NORMAL);

  private CpuDevice(MemorySegment handle) {
    super(handle);
  }

  static CpuDevice create(CpuOptions options) {
    Native.library();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(mhc_context_options.layout());
      mhc_context_options.struct_size(block, block.byteSize());
      mhc_context_options.threads(block, options.threads());
      mhc_context_options.cpu_tier(block, options.tier().ordinal());
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      Native.check(mhc_h.mhc_context_create(block, result), "mhc_context_create", null);
      return new CpuDevice(result.get(ValueLayout.ADDRESS, 0));
    }
  }

  @Override
  Stream first() {
    return first;
  }

  CpuStream newStream() {
    synchronize(); // open
    return new CpuStream(this, true);
  }

  @Override
  public void synchronize() {
    try (var _ = held()) {
      handle();
    }
  }

  @Override
  boolean isHost() {
    return true;
  }

  @Override
  long streamAddress() {
    return 0;
  }

  @Override
  Storage.Memory allocate(long bytes) {
    Arena arena = Arena.ofShared();
    try {
      return new Storage.Memory(arena.allocate(bytes, 64), arena::close);
    } catch (OutOfMemoryError e) { // of the system's memory, not of Java's heap
      arena.close();
      throw new MhcException("MHC_OUT_OF_MEMORY: there is no memory for " + bytes + " bytes", mhc_h.MHC_OUT_OF_MEMORY(),
          "MHC_OUT_OF_MEMORY", null, name(), "close tensors, or use smaller ones", e);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  @Override
  void download(MemorySegment from, MemorySegment to) {
    to.copyFrom(from);
  }

  @Override
  void upload(MemorySegment from, MemorySegment to) {
    to.copyFrom(from);
  }

  @Override
  void release() {}
}
