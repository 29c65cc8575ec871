// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;

/** Moves whole tensors of bf16 or fp32 between native memory and Java arrays. */
public final class Rows {
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
    requireBf16(tensor);
    for (int i = 0; i < values.length; i++) {
      values[i] = Float.intBitsToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
    }
  }

  /** Fills a compact tensor, rounding to nearest even. */
  public static void write(Tensor tensor, float[] values) {
    MemorySegment segment = tensor.segment();
    if (tensor.dtype() == DType.FP32) {
      MemorySegment.copy(values, 0, segment, ValueLayout.JAVA_FLOAT, 0, values.length);
      return;
    }
    requireBf16(tensor);
    for (int i = 0; i < values.length; i++) {
      segment.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16(values[i]));
    }
  }

  /** Fills a compact tensor with independent normal values. */
  public static Tensor random(Tensor tensor, SplittableRandom random, double deviation) {
    write(tensor, normal(Math.toIntExact(tensor.elements()), random, deviation));
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

  /** A value as bf16 holds it. */
  static float rounded(double value) {
    return Float.intBitsToFloat(bf16((float) value) << 16);
  }

  private static void requireBf16(Tensor tensor) {
    if (tensor.dtype() != DType.BF16 || !tensor.isCompact()) {
      throw new IllegalArgumentException("tensor is " + Arrays.toString(tensor.shape()) + " " + tensor.dtype()
          + "; expected a compact one of BF16 or FP32");
    }
  }
}
