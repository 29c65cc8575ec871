// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Arrays of DJL as tensors of mhc, and tensors as arrays: views of the same memory, nothing is copied. Who owns the memory
 * has to keep it while the other's view is used: neither library can see when the other closes it.
 */
public final class DjlTensors {
  private DjlTensors() {}

  /**
   * The memory of an array as a tensor. Closing the tensor leaves the array alone; the array has to stay open meanwhile.
   *
   * @param device where it will be used
   * @param array on the CPU, dense, contiguous, of FLOAT32, FLOAT16, BFLOAT16 or INT32
   * @throws IllegalArgumentException if the array is none of that
   */
  public static Tensor tensor(Device device, NDArray array) {
    return tensor(device, array, array.getShape().getShape());
  }

  /** As above, under another shape of as many elements. */
  static Tensor tensor(Device device, NDArray array, long... shape) {
    return Tensor.wrap(device, type(array.getDataType()), memory(array), shape);
  }

  /**
   * The memory of a tensor as an array. Closing the array leaves the tensor alone; the tensor has to stay open meanwhile,
   * and as long as DJL may still compute a gradient with the array.
   *
   * @param manager that the array is attached to; of the CPU
   * @param tensor compact, of FP32, FP16 or INT32: DJL's PyTorch engine has no bfloat16. At most 2 GiB
   * @throws IllegalArgumentException if the tensor is none of that
   */
  public static NDArray array(NDManager manager, Tensor tensor) {
    if (!tensor.isCompact()) {
      throw new IllegalArgumentException("tensor is " + tensor + ", not compact; expected row-major elements without gaps");
    }
    DataType type = switch (tensor.dtype()) {
      case FP32 -> DataType.FLOAT32;
      case FP16 -> DataType.FLOAT16;
      case INT32 -> DataType.INT32;
      default -> throw new IllegalArgumentException("tensor is " + tensor + "; expected FP32, FP16 or INT32, the types that"
          + " DJL can make arrays of");
    };
    if (!manager.getDevice().equals(ai.djl.Device.cpu())) {
      throw new IllegalArgumentException("manager is of " + manager.getDevice() + "; expected one of the CPU");
    }
    long bytes = tensor.segment().byteSize();
    if (bytes > Integer.MAX_VALUE) {
      throw new IllegalArgumentException("tensor has " + bytes + " bytes; expected less than 2^31, the most that DJL takes");
    }
    ByteBuffer memory = tensor.segment().asByteBuffer().order(ByteOrder.nativeOrder());
    return manager.create(memory, new Shape(tensor.shape()), type);
  }

  /** The element type that an array of this type has as a tensor. */
  private static DType type(DataType type) {
    return switch (type) {
      case FLOAT32 -> DType.FP32;
      case FLOAT16 -> DType.FP16;
      case BFLOAT16 -> DType.BF16;
      case INT32 -> DType.INT32;
      default -> throw new IllegalArgumentException("array is of " + type
          + "; expected FLOAT32, FLOAT16, BFLOAT16 or INT32");
    };
  }

  /** The array, if it is of the type that blocks compute with. */
  static NDArray requireFloat(String name, NDArray array) {
    if (array.getDataType() != DataType.FLOAT32) {
      throw new IllegalArgumentException(name + " is of " + array.getDataType() + "; expected " + DataType.FLOAT32);
    }
    return array;
  }

  /** The elements of an array, where they are. */
  static MemorySegment memory(NDArray array) {
    if (!array.getDevice().equals(ai.djl.Device.cpu())) {
      throw new IllegalArgumentException("array is on " + array.getDevice() + "; expected the CPU: DJL tells nobody where"
          + " the memory of a GPU's array is");
    }
    if (array.isSparse()) {
      throw new IllegalArgumentException("array is sparse; expected a dense one");
    }
    MemorySegment memory = MemorySegment.ofBuffer(array.toByteBuffer(true));
    // Of an array with gaps DJL makes a copy, another one each time.
    if (memory.address() != MemorySegment.ofBuffer(array.toByteBuffer(true)).address()) {
      throw new IllegalArgumentException("array " + array.getShape() + " is not contiguous; expected row-major elements"
          + " without gaps, as array.flatten() has");
    }
    return memory;
  }
}
