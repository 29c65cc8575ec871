// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** Element types of tensors, with DLPack's code and the number of bits. */
public enum DType {
  /** bfloat16: the upper half of a float32. */
  BF16(4, 16),
  /** IEEE 754 binary16. */
  FP16(2, 16),
  /** IEEE 754 binary32. */
  FP32(2, 32),
  /** FP8 of 4 exponent and 3 mantissa bits; finite, largest value 448, NaN where all but the sign is set. */
  FP8_E4M3(10, 8),
  /** The exponent of a power of two, biased by 127: a scale. 255 is NaN. */
  E8M0(14, 8),
  /** 32-bit signed integer. */
  INT32(0, 32);

  final int code;
  final int bits;

  DType(int code, int bits) {
    this.code = code;
    this.bits = bits;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bits / 8;
  }

  /** Whether streams and layer tensors can have this type: {@link #BF16}, {@link #FP16} or {@link #FP32}. */
  public boolean isRow() {
    return (Types.ROW & Types.of(this)) != 0;
  }
}
