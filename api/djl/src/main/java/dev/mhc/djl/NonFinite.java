// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import dev.mhc.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Looks for NaN and infinities. */
final class NonFinite {
  private NonFinite() {}

  /** Whether a compact FP32 tensor has finite numbers alone. */
  static boolean isFinite(Tensor tensor) {
    MemorySegment memory = tensor.segment();
    for (long i = 0; i < tensor.elements(); i++) {
      if (!Float.isFinite(memory.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i))) {
        return false;
      }
    }
    return true;
  }
}
