// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What an operation expects of a tensor argument beside its shape: a set of element types, and flags, in one int. */
final class Types {
  static final int FP32 = 1 << DType.FP32.ordinal();
  static final int INT32 = 1 << DType.INT32.ordinal();
  static final int FP8_E4M3 = 1 << DType.FP8_E4M3.ordinal();
  static final int SCALE = FP32 | 1 << DType.E8M0.ordinal();
  static final int ROW = FP32 | 1 << DType.BF16.ordinal() | 1 << DType.FP16.ordinal();
  static final int ANY = (1 << DType.values().length) - 1;

  /** The operation writes the tensor. */
  static final int OUT = 1 << 16;
  /** Null means: not given, not wanted. */
  static final int OPTIONAL = 1 << 17;
  /** The last dimension need not be contiguous. */
  static final int ANY_STRIDES = 1 << 18;

  private Types() {}

  static int of(DType type) {
    return 1 << type.ordinal();
  }

  /** The types a layer tensor can have beside streams of this one. */
  static int layer(Tensor streams) {
    return streams.dtype() == DType.FP32 ? ROW : of(streams.dtype());
  }

  static String names(int types) {
    var text = new StringBuilder();
    for (DType type : DType.values()) {
      if ((types & of(type)) != 0) {
        text.append(text.isEmpty() ? "" : " or ").append(type);
      }
    }
    return text.toString();
  }
}
