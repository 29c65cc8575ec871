// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * Products of one shape: widens what is not float32, multiplies with OpenBLAS, finishes and rounds row by row. What does
 * not need a copy is used where it is. Guarded by the device's lock.
 */
final class CpuProduct {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final Device device;
  private final GemmConfig config;
  private final int m;
  private final int n;
  private final int k;
  private final Matrix left = new Matrix();
  private final Matrix right = new Matrix();
  private final Matrix result = new Matrix();
  private final Matrix sum = new Matrix(); // the result, or what becomes it
  private final @Nullable Storage[] rooms = new Storage[4]; // copies of A, B, D and the bias

  /** The types of the config are those for which room is made now; others are computed too. */
  CpuProduct(Device device, GemmConfig config) {
    OpenBlas.load();
    this.device = device;
    this.config = config;
    m = (int) config.m();
    n = (int) config.n();
    k = (int) config.k();
    if (config.aType() != DType.FP32) {
      room(0, m, k);
      room(1, k, n);
    }
    if (config.dType() != DType.FP32) {
      room(2, m, n);
    }
    if (config.bias()) {
      room(3, 1, n);
    }
  }

  /** Float32 memory for a matrix, compact. */
  private MemorySegment room(int which, long rows, long columns) {
    Storage room = rooms[which];
    if (room == null) {
      room = Storage.allocate(device, Math.multiplyExact(4L, Math.multiplyExact(rows, columns)));
      rooms[which] = room;
    }
    return room.data;
  }

  /** Operands are as the config has them, but of any row type. */
  void compute(Tensor a, Tensor b, @Nullable Tensor bias, Tensor d) {
    MemorySegment shift = bias == null ? null : room(3, 1, n);
    if (bias != null && shift != null) {
      FloatRows.widen(bias.dtype(), bias.segment(), 0, shift, 0, n);
    }
    long products = config.batch() == 0 ? 1 : config.batch();
    try {
      for (long i = 0; i < products; i++) {
        product(i, a, b, shift, d);
      }
    } finally {
      left.clear();
      right.clear();
      result.clear();
      sum.clear();
    }
  }

  private void product(long index, Tensor a, Tensor b, @Nullable MemorySegment bias, Tensor d) {
    take(left, a, index, 0);
    take(right, b, index, 1);
    result.set(d, index);
    sum.set(d, index);
    boolean direct = result.fits();
    if (!direct) {
      MemorySegment room = room(2, m, n);
      if (config.beta() != 0) {
        result.widen(room);
      }
      sum.setCompact(room);
    }
    OpenBlas.sgemm(device.threads(), config.transposeA(), config.transposeB(), m, n, k, config.alpha(), left.start(),
        left.leading(), right.start(), right.leading(), config.beta(), sum.start(), sum.leading());
    if (bias != null || config.activation() != Activation.NONE) {
      finish(bias);
    }
    if (!direct) {
      result.narrow(sum.data);
    }
  }

  /** Has a matrix be what OpenBLAS can read: the tensor's memory, or a copy in float32. */
  private void take(Matrix matrix, Tensor tensor, long index, int which) {
    matrix.set(tensor, index);
    if (!matrix.fits()) {
      MemorySegment room = room(which, matrix.rows, matrix.columns);
      matrix.widen(room);
      matrix.setCompact(room);
    }
  }

  private void finish(@Nullable MemorySegment bias) {
    for (long row = 0; row < sum.rows; row++) {
      long start = sum.offset + 4 * row * sum.stride;
      for (long column = 0; column < sum.columns; column++) {
        float value = sum.data.get(FLOAT, start + 4 * column);
        float shifted = bias == null ? value : value + bias.get(FLOAT, 4 * column);
        sum.data.set(FLOAT, start + 4 * column, config.activation().of(shifted));
      }
    }
  }

  void close() {
    for (Storage room : rooms) {
      if (room != null) {
        room.close();
      }
    }
  }

  /** One matrix of a tensor, in each call another: rows a stride apart, in elements. Kept, so that a call allocates nothing. */
  private static final class Matrix {
    MemorySegment data = MemorySegment.NULL;
    long offset; // bytes
    long rows;
    long columns;
    long stride;
    private DType type = DType.FP32;

    void set(Tensor tensor, long index) {
      int rank = tensor.rank();
      data = tensor.segment();
      type = tensor.dtype();
      offset = rank == 3 && tensor.elements() != 0 ? index * tensor.strides[0] * type.bytes() : 0;
      rows = tensor.shape[rank - 2];
      columns = tensor.shape[rank - 1];
      stride = tensor.strides[rank - 2];
    }

    /** As many rows and columns in float32, without gaps. */
    void setCompact(MemorySegment room) {
      data = room;
      type = DType.FP32;
      offset = 0;
      stride = columns;
    }

    /** Holds on to nobody's memory. */
    void clear() {
      data = MemorySegment.NULL;
    }

    /** Whether OpenBLAS can take it as it is. */
    boolean fits() {
      return type == DType.FP32 && stride >= columns && stride <= Integer.MAX_VALUE;
    }

    /** What OpenBLAS is given. A slice, which is an object, for the further products of a batch alone. */
    MemorySegment start() {
      return offset == 0 ? data : data.asSlice(offset);
    }

    int leading() {
      return (int) Math.max(1, stride);
    }

    void widen(MemorySegment to) {
      for (long row = 0; row < rows; row++) {
        FloatRows.widen(type, data, offset + row * stride * type.bytes(), to, row * columns, columns);
      }
    }

    void narrow(MemorySegment from) {
      for (long row = 0; row < rows; row++) {
        FloatRows.narrow(type, from, row * columns, data, offset + row * stride * type.bytes(), columns);
      }
    }
  }
}
