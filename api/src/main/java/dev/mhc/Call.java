// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * An operation's argument block in native memory, laid out once. A call checks its tensors and writes a pointer for
 * each; nothing is allocated. Use:
 *
 * <pre>
 *   call.begin();
 *   try { call.put(...); ...; call.run(rows); } finally { call.end(); }
 * </pre>
 *
 * <p>Between begin and end the device is locked, so that no tensor put here can be closed.
 */
final class Call {
  private static final ValueLayout.OfLong POINTER = ValueLayout.JAVA_LONG;
  private static final long STREAM = 8; // behind struct_size, in every block

  private final Device device;
  private final Operation operation;
  private final MemorySegment block;
  private final @Nullable Tensor[] held;
  private int holds;
  private final MemorySegment config;
  private final @Nullable Object[] written = new Object[5];
  private boolean hasRun;

  // The last run, as repeats wants to know it.
  private final @Nullable Object[] ran = new Object[12];
  private float ranValue;
  private long closings = -1; // of the device; -1 where a tensor's memory may go away without it
  private boolean isBorrowed;
  private long rows;

  Call(Device device, Operation operation) {
    this(device, operation, 0, 40);
  }

  /** extra: bytes behind the block for an array that it points to. tensors: how many one call can have. */
  Call(Device device, Operation operation, long extra, int tensors) {
    this.device = device;
    this.operation = operation;
    held = new Tensor[tensors];
    Arena arena = Arena.ofAuto();
    block = arena.allocate(operation.layout.byteSize() + extra, 8);
    block.set(POINTER, 0, operation.layout.byteSize()); // struct_size
    config = arena.allocate(HyperConnectionConfig.NATIVE_BYTES, 8);
  }

  void begin() {
    device.lock.lock();
    holds = 0;
    hasRun = false;
    isBorrowed = false;
    if (device.isClosed()) {
      device.lock.unlock();
      throw new IllegalStateException("device " + device.name() + " is closed");
    }
  }

  void end() {
    Arrays.fill(held, 0, holds, null);
    if (!hasRun) {
      Arrays.fill(written, null); // what came after the fault was not written
      closings = -1;
    }
    device.lock.unlock();
  }

  /** Runs the operation. rows: for the event alone. */
  void run(long rows) {
    this.rows = rows;
    if (OperationEvent.wanted()) {
      runRecorded(rows);
    } else {
      check(runOnce());
    }
  }

  /**
   * Runs the operation once more on what the last run had, if that was all of the same objects and nothing of the device has
   * been closed since: then there is nothing to check or to write. What it takes to check is little, but lies all over the
   * heap, and an operation of a few microseconds has used the caches for its own purposes.
   */
  boolean repeats(@Nullable Object o0, Object o1, @Nullable Object o2, @Nullable Object o3, @Nullable Object o4,
      @Nullable Object o5, @Nullable Object o6, @Nullable Object o7, @Nullable Object o8, @Nullable Object o9,
      @Nullable Object o10, Object o11, float value) {
    Object[] last = ran;
    if (closings != device.closings | last[0] != o0 | last[1] != o1 | last[2] != o2 | last[3] != o3 | last[4] != o4
        | last[5] != o5 | last[6] != o6 | last[7] != o7 | last[8] != o8 | last[9] != o9 | last[10] != o10
        | last[11] != o11 | ranValue != value) {
      return false;
    }
    run(rows);
    return true;
  }

  /** Notes what a run had, for {@link #repeats}. */
  void remember(Object o0, Object o1, @Nullable Object o2, @Nullable Object o3, @Nullable Object o4, @Nullable Object o5,
      @Nullable Object o6, @Nullable Object o7, @Nullable Object o8, @Nullable Object o9, Object o10, Object o11,
      float value) {
    Object[] last = ran;
    last[0] = o0;
    last[1] = o1;
    last[2] = o2;
    last[3] = o3;
    last[4] = o4;
    last[5] = o5;
    last[6] = o6;
    last[7] = o7;
    last[8] = o8;
    last[9] = o9;
    last[10] = o10;
    last[11] = o11;
    ranValue = value;
    closings = isBorrowed ? -1 : device.closings;
  }

  /** The last run is not one to be repeated. */
  void forget() {
    closings = -1;
  }

  private int runOnce() {
    block.set(POINTER, STREAM, device.streamAddress());
    int status = operation.function.call(device.handle(), block);
    if (status == mhc_h.MHC_WORKSPACE_TOO_SMALL()) { // a larger shape than before; nothing has been done
      device.reserveFor(operation, block);
      status = operation.function.call(device.handle(), block);
    }
    return status;
  }

  private void runRecorded(long rows) {
    var event = new OperationEvent();
    event.begin();
    int status = runOnce();
    event.end();
    if (event.shouldCommit()) {
      event.operation = operation.symbol;
      event.device = device.name();
      event.rows = rows;
      event.status = status;
      event.commit();
    }
    check(status);
  }

  private void check(int status) {
    if (status != mhc_h.MHC_OK()) {
      throw device.failure(status, operation.symbol);
    }
    hasRun = true;
  }

  // ------------------------------------------------------------------------------------------------ values

  void put(long offset, int value) {
    block.set(ValueLayout.JAVA_INT, offset, value);
  }

  void put(long offset, float value) {
    block.set(ValueLayout.JAVA_FLOAT, offset, value);
  }

  /** A pointer into native memory that outlives the call. */
  void put(long offset, MemorySegment pointer) {
    block.set(POINTER, offset, pointer.address());
  }

  void clear(long offset) {
    block.set(POINTER, offset, 0);
  }

  /** The part of the block from an offset. */
  MemorySegment part(long offset) {
    return block.asSlice(offset);
  }

  void config(long offset, HyperConnectionConfig value) {
    if (changed(0, value)) {
      value.write(config);
    }
    put(offset, config);
  }

  /**
   * Whether a group of arguments is another than in the last call, so that it has to be written. The group is kept, and
   * with it what its pointers lead to; the caller sees to it that its tensors are open.
   *
   * @param slot 1 to 4, the same for each use of a place in the block; 0 is the config's
   */
  boolean changed(int slot, Object group) {
    if (written[slot] == group) {
      return false;
    }
    written[slot] = group;
    return true;
  }

  // ------------------------------------------------------------------------------------------------ tensors

  /**
   * Checks a tensor and writes its pointer.
   *
   * @param offset of the pointer
   * @param name of the argument in the Java method
   * @param types element types, or-ed with the flags of {@link Types}
   * @param shape the expected shape in words
   * @param d0 the expected dimension, -1 for any
   */
  void put(long offset, String name, @Nullable Tensor tensor, int types, String shape, long d0) {
    if (accept(offset, name, tensor, types, shape) && !(tensor.shape.length == 1 && Operand.fits(tensor, 0, d0))) {
      throw Operand.wrongShape(name, tensor, shape, d0);
    }
  }

  void put(long offset, String name, @Nullable Tensor tensor, int types, String shape, long d0, long d1) {
    if (accept(offset, name, tensor, types, shape)
        && !(tensor.shape.length == 2 && Operand.fits(tensor, 0, d0) && Operand.fits(tensor, 1, d1))) {
      throw Operand.wrongShape(name, tensor, shape, d0, d1);
    }
  }

  void put(long offset, String name, @Nullable Tensor tensor, int types, String shape, long d0, long d1, long d2) {
    if (accept(offset, name, tensor, types, shape)
        && !(tensor.shape.length == 3 && Operand.fits(tensor, 0, d0) && Operand.fits(tensor, 1, d1)
            && Operand.fits(tensor, 2, d2))) {
      throw Operand.wrongShape(name, tensor, shape, d0, d1, d2);
    }
  }

  void put(long offset, String name, @Nullable Tensor tensor, int types, String shape, long d0, long d1, long d2,
      long d3) {
    if (accept(offset, name, tensor, types, shape)
        && !(tensor.shape.length == 4 && Operand.fits(tensor, 0, d0) && Operand.fits(tensor, 1, d1) && Operand.fits(tensor, 2, d2)
            && Operand.fits(tensor, 3, d3))) {
      throw Operand.wrongShape(name, tensor, shape, d0, d1, d2, d3);
    }
  }

  /** Checks again a tensor that the last call wrote. */
  void use(String name, @Nullable Tensor tensor) {
    if (tensor != null) {
      tensor.requireUsable(name, device);
      isBorrowed |= tensor.isBorrowed;
    }
  }

  /** Everything but the shape; false if there is no tensor, and need not be. */
  private boolean accept(long offset, String name, @Nullable Tensor tensor, int types, String shape) {
    if (!Operand.accept(name, tensor, device, types, shape)) {
      block.set(POINTER, offset, 0);
      return false;
    }
    held[holds++] = tensor;
    isBorrowed |= tensor.isBorrowed;
    block.set(POINTER, offset, tensor.descriptorAddress);
    return true;
  }
}
