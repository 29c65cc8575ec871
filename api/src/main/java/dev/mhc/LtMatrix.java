// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * How a row-major matrix, or a batch of them, lies in memory: all that the choice of an algorithm depends on.
 *
 * @param stride elements from one row to the next
 * @param batch how many there are
 * @param batchStride elements from one matrix to the next
 * @param alignment of its address and of its rows, in bytes: the largest power of two, 256 at most
 */
record LtMatrix(DType type, long rows, long columns, long stride, long batch, long batchStride, int alignment) {
  private static final int MOST = 256;

  static LtMatrix of(Tensor tensor) {
    int rank = tensor.shape.length;
    int bytes = tensor.dtype().bytes();
    long columns = tensor.shape[rank - 1];
    long rows = tensor.shape[rank - 2];
    long stride = rows > 1 ? tensor.strides[rank - 2] : columns; // of a single row nobody asks
    long batch = rank == 3 ? tensor.shape[0] : 1;
    long batchStride = batch > 1 ? tensor.strides[0] : 0;
    long places = tensor.memory().address() | stride * bytes | batchStride * bytes | MOST;
    return new LtMatrix(tensor.dtype(), rows, columns, stride, batch, batchStride, (int) Long.lowestOneBit(places));
  }

  /** One that begins at an aligned address and has no gaps. */
  static LtMatrix compact(DType type, long rows, long columns, long batch) {
    long places = columns * type.bytes() | (batch > 1 ? rows * columns * type.bytes() : 0) | MOST;
    return new LtMatrix(type, rows, columns, columns, Math.max(1, batch), batch > 1 ? rows * columns : 0,
        (int) Long.lowestOneBit(places));
  }
}
