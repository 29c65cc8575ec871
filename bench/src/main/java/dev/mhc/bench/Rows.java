// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;

/** Moves whole tensors of bf16, fp16 or fp32 between native memory and Java arrays. */
public final class Rows {
  private static final int DRAWN = 1_048_573; // a prime number: repeated values fall on other channels

  private Rows() {}

  /** The values of a compact tensor. */
  public static float[] read(Tensor tensor) {
    var values = new float[Math.toIntExact(tensor.elements())];
    read(tensor, values);
    return values;
  }

  /** The values of a compact tensor, into an array of its size. */
  public static void read(Tensor tensor, float[] values) {
    MemorySegment segment = tensor.segment();
    if (tensor.dtype() == DType.FP32) {
      MemorySegment.copy(segment, ValueLayout.JAVA_FLOAT, 0, values, 0, values.length);
      return;
    }
    boolean bf16 = requireHalf(tensor) == DType.BF16;
    for (int i = 0; i < values.length; i++) {
      short bits = segment.getAtIndex(ValueLayout.JAVA_SHORT, i);
      values[i] = bf16 ? Float.intBitsToFloat(bits << 16) : Float.float16ToFloat(bits);
    }
  }

  /** Fills a compact tensor, rounding to nearest even. */
  public static void write(Tensor tensor, float[] values) {
    MemorySegment segment = tensor.segment();
    if (tensor.dtype() == DType.FP32) {
      MemorySegment.copy(values, 0, segment, ValueLayout.JAVA_FLOAT, 0, values.length);
      return;
    }
    boolean bf16 = requireHalf(tensor) == DType.BF16;
    for (int i = 0; i < values.length; i++) {
      segment.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16 ? bf16(values[i]) : Float.floatToFloat16(values[i]));
    }
  }

  /** Fills a compact tensor with normal values: independent ones, about a million of them, then the same again. */
  public static Tensor random(Tensor tensor, SplittableRandom random, double deviation) {
    int drawn = (int) Math.min(tensor.elements(), DRAWN);
    long bytes = (long) drawn * tensor.dtype().bytes();
    MemorySegment all = tensor.segment();
    write(Tensor.wrap(tensor.device(), tensor.dtype(), all.asSlice(0, bytes), drawn), normal(drawn, random, deviation));
    for (long at = bytes; at < all.byteSize(); at += bytes) {
      MemorySegment.copy(all, 0, all, at, Math.min(bytes, all.byteSize() - at));
    }
    return tensor;
  }

  /** Independent normal values: sums of uniform ones, as good as normal here and much faster. */
  public static float[] normal(int count, SplittableRandom random, double deviation) {
    var values = new float[count];
    double unit = deviation * Math.sqrt(3) * 0x1p-16; // four uniform values of 16 bits have variance 4 * 2^32 / 12
    for (int i = 0; i < count; i++) {
      long bits = random.nextLong();
      long sum = (bits & 0xffff) + (bits >>> 16 & 0xffff) + (bits >>> 32 & 0xffff) + (bits >>> 48);
      values[i] = (float) ((sum - 131070) * unit);
    }
    return values;
  }

  /** The upper half of a float32, rounded to nearest even; a NaN stays one. */
  static short bf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  private static DType requireHalf(Tensor tensor) {
    if (tensor.dtype() != DType.BF16 && tensor.dtype() != DType.FP16 || !tensor.isCompact()) {
      throw new IllegalArgumentException("tensor is " + Arrays.toString(tensor.shape()) + " " + tensor.dtype()
          + "; expected a compact one of BF16, FP16 or FP32");
    }
    return tensor.dtype();
  }
}
