// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Reads and writes single elements of every type; writing rounds once, to nearest, ties to even. */
final class Elements {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

  private Elements() {}

  static double get(DType type, MemorySegment data, long byteOffset) {
    return switch (type) {
      case FP32 -> data.get(FLOAT, byteOffset);
      case BF16 -> Float.intBitsToFloat(data.get(SHORT, byteOffset) << 16);
      case FP16 -> Float.float16ToFloat(data.get(SHORT, byteOffset));
      case FP8_E4M3 -> fromE4m3(data.get(ValueLayout.JAVA_BYTE, byteOffset));
      case E8M0 -> fromE8m0(data.get(ValueLayout.JAVA_BYTE, byteOffset));
      case INT32 -> data.get(INT, byteOffset);
    };
  }

  static void set(DType type, MemorySegment data, long byteOffset, double value) {
    switch (type) {
      case FP32 -> data.set(FLOAT, byteOffset, (float) value);
      case BF16 -> data.set(SHORT, byteOffset, toBf16(value));
      case FP16 -> data.set(SHORT, byteOffset, Float.floatToFloat16(toOdd(value)));
      case FP8_E4M3 -> data.set(ValueLayout.JAVA_BYTE, byteOffset, toE4m3(value));
      case E8M0 -> data.set(ValueLayout.JAVA_BYTE, byteOffset, toE8m0(value));
      case INT32 -> data.set(INT, byteOffset, toInt(value));
    }
  }

  /** Whether a value can be written to this type: the integer and power-of-two types take only what they hold. */
  static boolean accepts(DType type, double value) {
    return switch (type) {
      case INT32 -> value == (int) value;
      case E8M0 -> Double.isNaN(value)
          || (Math.abs(Math.getExponent(value)) <= 127 && value == Math.scalb(1.0, Math.getExponent(value)));
      default -> true;
    };
  }

  /**
   * To float, setting the last bit of what is not exact. A further rounding to a type with two bits less or more then
   * gives what one rounding of the double would have given.
   */
  private static float toOdd(double value) {
    float nearest = (float) value;
    if (nearest == value || Double.isNaN(value)) {
      return nearest;
    }
    int bits = Float.floatToRawIntBits(nearest);
    if (Math.abs((double) nearest) > Math.abs(value)) {
      bits--;
    }
    return Float.intBitsToFloat(bits | 1);
  }

  private static short toBf16(double value) {
    int bits = Float.floatToRawIntBits(toOdd(value));
    if (Double.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  private static byte toE4m3(double value) {
    int sign = Double.doubleToRawLongBits(value) < 0 ? 0x80 : 0;
    double magnitude = Math.abs(value);
    if (!(magnitude <= 464)) { // halfway to the 480 that does not exist
      return (byte) (sign | 0x7f);
    }
    int exponent = Math.max(-6, Math.getExponent(magnitude));
    int eighths = (int) Math.rint(Math.scalb(magnitude, 3 - exponent));
    // eighths of 16 carry into the exponent, below 8 the number is subnormal: both come out of the same sum
    return (byte) (sign | (exponent + 6 << 3) + eighths);
  }

  private static double fromE4m3(byte bits) {
    int exponent = bits >>> 3 & 0xf;
    int mantissa = bits & 7;
    double magnitude = exponent == 0 ? Math.scalb(mantissa, -9)
        : (bits & 0x7f) == 0x7f ? Double.NaN
        : Math.scalb(8.0 + mantissa, exponent - 10);
    return bits < 0 ? -magnitude : magnitude;
  }

  private static byte toE8m0(double value) {
    return (byte) (Double.isNaN(value) ? 255 : Math.getExponent(value) + 127);
  }

  private static double fromE8m0(byte bits) {
    int exponent = bits & 0xff;
    return exponent == 255 ? Double.NaN : Math.scalb(1.0, exponent - 127);
  }

  private static int toInt(double value) {
    return (int) value;
  }
}
