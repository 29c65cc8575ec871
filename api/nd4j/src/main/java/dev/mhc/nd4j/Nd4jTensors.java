// SPDX-License-Identifier: Apache-2.0
package dev.mhc.nd4j;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.ShortPointer;
import org.bytedeco.javacpp.indexer.Bfloat16Indexer;
import org.bytedeco.javacpp.indexer.FloatIndexer;
import org.bytedeco.javacpp.indexer.HalfIndexer;
import org.bytedeco.javacpp.indexer.IntIndexer;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Arrays of ND4J as tensors of mhc, and back: views of the same memory, nothing is copied. Who owns the memory has to keep it
 * while the other's view is used: an array that is closed, or whose workspace ends, takes its memory along.
 *
 * {@snippet file="dev/mhc/nd4j/Nd4jTensorsTest.java" region="function"}
 */
public final class Nd4jTensors {
  private Nd4jTensors() {}

  /**
   * The memory of an array, which may be a view of another one and have any strides; operations of mhc want the last
   * dimension contiguous, as it is in the order 'c'. Closing the tensor leaves the array alone.
   *
   * @param device where it will be used
   * @param array of FLOAT, BFLOAT16, HALF or INT, of ND4J's CPU backend; at most 2 GiB
   * @throws IllegalArgumentException if it is none of that
   */
  public static Tensor tensor(Device device, INDArray array) {
    DType type = switch (array.dataType()) {
      case FLOAT -> DType.FP32;
      case BFLOAT16 -> DType.BF16;
      case HALF -> DType.FP16;
      case INT -> DType.INT32;
      default -> throw new IllegalArgumentException("array is of " + array.dataType()
          + "; expected FLOAT, BFLOAT16, HALF or INT");
    };
    if (array.wasClosed()) {
      throw new IllegalArgumentException("array is closed; expected an open one");
    }
    if (array.isEmpty()) {
      throw new IllegalArgumentException("array is empty; expected at least one element");
    }
    ByteBuffer memory = array.data().pointer().asByteBuffer();
    if (memory == null) {
      throw new IllegalArgumentException("array has no memory that this CPU can reach; expected one of ND4J's CPU backend");
    }
    long start = array.offset() * type.bytes();
    return Tensor.wrap(device, type, MemorySegment.ofBuffer(memory).asSlice(start), array.shape(), array.stride());
  }

  /**
   * The memory of a tensor as an array. ND4J leaves it alone when the array ends.
   *
   * @param tensor compact, of FP32, BF16, FP16 or INT32; at most 2 GiB; it has to stay open meanwhile
   * @throws IllegalArgumentException if it is none of that
   */
  public static INDArray array(Tensor tensor) {
    if (!tensor.isCompact()) {
      throw new IllegalArgumentException("tensor is " + tensor + ", not compact; expected row-major elements without gaps");
    }
    long bytes = tensor.segment().byteSize();
    if (bytes == 0 || bytes > Integer.MAX_VALUE) {
      throw new IllegalArgumentException("tensor has " + bytes + " bytes; expected 1 to 2^31 - 1, as a buffer can have");
    }
    return Nd4j.create(buffer(tensor, tensor.segment().asByteBuffer().order(ByteOrder.nativeOrder())), tensor.shape(),
        tensor.strides(), 0, 'c');
  }

  private static DataBuffer buffer(Tensor tensor, ByteBuffer memory) {
    long count = tensor.elements();
    switch (tensor.dtype()) {
      case FP32 -> {
        var pointer = new FloatPointer(memory.asFloatBuffer());
        return Nd4j.createBuffer(pointer, DataType.FLOAT, count, FloatIndexer.create(pointer));
      }
      case BF16 -> {
        var pointer = new ShortPointer(memory.asShortBuffer());
        return Nd4j.createBuffer(pointer, DataType.BFLOAT16, count, Bfloat16Indexer.create(pointer));
      }
      case FP16 -> {
        var pointer = new ShortPointer(memory.asShortBuffer());
        return Nd4j.createBuffer(pointer, DataType.FLOAT16, count, HalfIndexer.create(pointer));
      }
      case INT32 -> {
        var pointer = new IntPointer(memory.asIntBuffer());
        return Nd4j.createBuffer(pointer, DataType.INT32, count, IntIndexer.create(pointer));
      }
      default -> throw new IllegalArgumentException("tensor is " + tensor + "; expected FP32, BF16, FP16 or INT32");
    }
  }
}
