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
  private final @Nullable Storage[] rooms = new Storage[4]; // copies of A, B, D and the bias
  private boolean closed;

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
    for (long i = 0; i < products; i++) {
      product(i, a, b, shift, d);
    }
  }

  private void product(long index, Tensor a, Tensor b, @Nullable MemorySegment bias, Tensor d) {
    Matrix left = operand(a, index, 0);
    Matrix right = operand(b, index, 1);
    Matrix place = Matrix.of(d, index);
    boolean direct = d.dtype() == DType.FP32 && place.fits();
    if (!direct && config.beta() != 0) {
      place.widen(room(2, m, n));
    }
    Matrix sum = direct ? place : Matrix.compact(room(2, m, n), m, n);
    OpenBlas.sgemm(device.threads(), config.transposeA(), config.transposeB(), m, n, k, config.alpha(), left.data,
        left.leading(), right.data, right.leading(), config.beta(), sum.data, sum.leading());
    if (bias != null || config.activation() != Activation.NONE) {
      finish(sum, bias);
    }
    if (!direct) {
      place.narrow(sum.data);
    }
  }

  /** A matrix that OpenBLAS can read: the tensor's memory, or a copy in float32. */
  private Matrix operand(Tensor tensor, long index, int which) {
    Matrix matrix = Matrix.of(tensor, index);
    if (tensor.dtype() == DType.FP32 && matrix.fits()) {
      return matrix;
    }
    MemorySegment room = room(which, matrix.rows, matrix.columns);
    matrix.widen(room);
    return Matrix.compact(room, matrix.rows, matrix.columns);
  }

  private void finish(Matrix sum, @Nullable MemorySegment bias) {
    for (long row = 0; row < sum.rows; row++) {
      long start = 4 * row * sum.stride;
      for (long column = 0; column < sum.columns; column++) {
        float value = sum.data.get(FLOAT, start + 4 * column);
        float shifted = bias == null ? value : value + bias.get(FLOAT, 4 * column);
        sum.data.set(FLOAT, start + 4 * column, config.activation().of(shifted));
      }
    }
  }

  boolean isClosed() {
    return closed || device.isClosed();
  }

  void close() {
    for (Storage room : rooms) {
      if (room != null) {
        room.close();
      }
    }
    closed = true;
  }

  /** One matrix of a tensor: rows a stride apart, in elements. */
  private record Matrix(MemorySegment data, DType type, long rows, long columns, long stride) {
    static Matrix of(Tensor tensor, long index) {
      int rank = tensor.rank();
      MemorySegment data = tensor.segment();
      if (rank == 3) {
        data = data.asSlice(tensor.elements() == 0 ? 0 : index * tensor.strides[0] * tensor.dtype().bytes());
      }
      return new Matrix(data, tensor.dtype(), tensor.shape[rank - 2], tensor.shape[rank - 1], tensor.strides[rank - 2]);
    }

    static Matrix compact(MemorySegment data, long rows, long columns) {
      return new Matrix(data, DType.FP32, rows, columns, columns);
    }

    /** Whether OpenBLAS can take it as it is. */
    boolean fits() {
      return stride >= columns && stride <= Integer.MAX_VALUE;
    }

    int leading() {
      return (int) Math.max(1, stride);
    }

    void widen(MemorySegment to) {
      for (long row = 0; row < rows; row++) {
        FloatRows.widen(type, data, row * stride * type.bytes(), to, row * columns, columns);
      }
    }

    void narrow(MemorySegment from) {
      for (long row = 0; row < rows; row++) {
        FloatRows.narrow(type, from, row * columns, data, row * stride * type.bytes(), columns);
      }
    }
  }
}
