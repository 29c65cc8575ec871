// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Rows of {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32} to float32 and back, rounding once. */
final class FloatRows {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

  private FloatRows() {}

  /** dst[dstIndex + i] = src[i], exactly; srcOffset in bytes. */
  static void widen(DType type, MemorySegment src, long srcOffset, MemorySegment dst, long dstIndex, long count) {
    switch (type) {
      case FP32 -> MemorySegment.copy(src, srcOffset, dst, 4 * dstIndex, 4 * count);
      case BF16 -> {
        for (long i = 0; i < count; i++) {
          dst.set(FLOAT, 4 * (dstIndex + i), Float.intBitsToFloat(src.get(SHORT, srcOffset + 2 * i) << 16));
        }
      }
      case FP16 -> {
        for (long i = 0; i < count; i++) {
          dst.set(FLOAT, 4 * (dstIndex + i), Float.float16ToFloat(src.get(SHORT, srcOffset + 2 * i)));
        }
      }
      default -> throw new AssertionError(type);
    }
  }

  /** dst[i] = src[srcIndex + i], rounded to nearest even; dstOffset in bytes. */
  static void narrow(DType type, MemorySegment src, long srcIndex, MemorySegment dst, long dstOffset, long count) {
    switch (type) {
      case FP32 -> MemorySegment.copy(src, 4 * srcIndex, dst, dstOffset, 4 * count);
      case BF16 -> {
        for (long i = 0; i < count; i++) {
          dst.set(SHORT, dstOffset + 2 * i, toBf16(src.get(FLOAT, 4 * (srcIndex + i))));
        }
      }
      case FP16 -> {
        for (long i = 0; i < count; i++) {
          dst.set(SHORT, dstOffset + 2 * i, Float.floatToFloat16(src.get(FLOAT, 4 * (srcIndex + i))));
        }
      }
      default -> throw new AssertionError(type);
    }
  }

  private static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    boolean nan = (bits & 0x7fffffff) > 0x7f800000;
    return (short) (nan ? bits >>> 16 | 0x40 : bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
