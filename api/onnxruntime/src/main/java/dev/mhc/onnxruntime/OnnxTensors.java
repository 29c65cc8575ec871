// SPDX-License-Identifier: Apache-2.0
package dev.mhc.onnxruntime;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * Tensors of ONNX Runtime as tensors of mhc, and back: views of the same memory, nothing is copied. Who owns the memory has
 * to keep it while the other's view is used. A layer function F that ONNX Runtime computes takes and fills mhc's tensors:
 *
 * {@snippet file="dev/mhc/onnxruntime/OnnxTensorsTest.java" region="function"}
 */
public final class OnnxTensors {
  private OnnxTensors() {}

  /**
   * The memory of a tensor for ONNX Runtime: as an input, or as an output that it fills. Closing it leaves the tensor alone.
   *
   * @param environment of ONNX Runtime
   * @param tensor compact, of FP32, BF16, FP16 or INT32; at most 2 GiB; it has to stay open meanwhile
   * @throws IllegalArgumentException if the tensor is none of that
   * @throws OrtException if ONNX Runtime refuses it
   */
  public static OnnxTensor onnx(OrtEnvironment environment, Tensor tensor) throws OrtException {
    if (!tensor.isCompact()) {
      throw new IllegalArgumentException("tensor is " + tensor + ", not compact; expected row-major elements without gaps");
    }
    OnnxJavaType type = switch (tensor.dtype()) {
      case FP32 -> OnnxJavaType.FLOAT;
      case BF16 -> OnnxJavaType.BFLOAT16;
      case FP16 -> OnnxJavaType.FLOAT16;
      case INT32 -> OnnxJavaType.INT32;
      default -> throw new IllegalArgumentException("tensor is " + tensor + "; expected FP32, BF16, FP16 or INT32");
    };
    long bytes = tensor.segment().byteSize();
    if (bytes > Integer.MAX_VALUE) {
      throw new IllegalArgumentException("tensor has " + bytes + " bytes; expected less than 2^31, the most that a buffer has");
    }
    ByteBuffer memory = tensor.segment().asByteBuffer().order(ByteOrder.nativeOrder());
    return OnnxTensor.createTensor(environment, memory, tensor.shape(), type);
  }

  /**
   * The memory of a tensor of ONNX Runtime that was made on a direct buffer; it has to stay open meanwhile. Closing the
   * result leaves it alone. Of its own memory ONNX Runtime gives Java copies alone: for its outputs, give it tensors to fill.
   *
   * @param device where it will be used
   * @param tensor of FLOAT, BFLOAT16, FLOAT16 or INT32, on a direct buffer
   * @throws IllegalArgumentException if it is none of that
   */
  public static Tensor tensor(Device device, OnnxTensor tensor) {
    DType type = switch (tensor.getInfo().type) {
      case FLOAT -> DType.FP32;
      case BFLOAT16 -> DType.BF16;
      case FLOAT16 -> DType.FP16;
      case INT32 -> DType.INT32;
      default -> throw new IllegalArgumentException("tensor is of " + tensor.getInfo().type
          + "; expected FLOAT, BFLOAT16, FLOAT16 or INT32");
    };
    Buffer buffer = buffer(tensor);
    if (buffer == null || !buffer.isDirect()) {
      throw new IllegalArgumentException("tensor is in memory of ONNX Runtime's own; expected one on a direct buffer, as"
          + " OnnxTensors.onnx makes, which can also be given to OrtSession.run as an output");
    }
    return Tensor.wrap(device, type, MemorySegment.ofBuffer(buffer), tensor.getInfo().getShape());
  }

  private static @Nullable Buffer buffer(OnnxTensor tensor) {
    try {
      return tensor.getBufferRef().orElse(null);
    } catch (NullPointerException e) { // what ONNX Runtime 1.29 answers where there is none
      return null;
    }
  }
}
