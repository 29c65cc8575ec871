// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Combines the ranks' elements in the order of the ranks, in float32 or in integers, and rounds once. */
final class Reduction {
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

  private Reduction() {}

  /**
   * result[i] = op over all parts[rank][i].
   *
   * @param parts one for each rank, in their order; the result may be one of them
   */
  static void run(DType type, ReduceOp op, MemorySegment[] parts, MemorySegment result, long count) {
    if (type == DType.INT32) {
      integers(op, parts, result, count);
      return;
    }
    int bytes = type.bytes();
    for (long at = 0; at < count * bytes; at += bytes) {
      float sum = (float) Elements.get(type, parts[0], at);
      for (int rank = 1; rank < parts.length; rank++) {
        float value = (float) Elements.get(type, parts[rank], at);
        sum = switch (op) {
          case SUM, AVERAGE -> sum + value;
          case MIN -> Math.min(sum, value);
          case MAX -> Math.max(sum, value);
        };
      }
      Elements.set(type, result, at, op == ReduceOp.AVERAGE ? sum / parts.length : sum);
    }
  }

  private static void integers(ReduceOp op, MemorySegment[] parts, MemorySegment result, long count) {
    for (long at = 0; at < 4 * count; at += 4) {
      int sum = parts[0].get(INT, at);
      for (int rank = 1; rank < parts.length; rank++) {
        int value = parts[rank].get(INT, at);
        sum = switch (op) {
          case SUM -> sum + value;
          case MIN -> Math.min(sum, value);
          case MAX -> Math.max(sum, value);
          case AVERAGE -> throw new AssertionError("refused before");
        };
      }
      result.set(INT, at, sum);
    }
  }
}
