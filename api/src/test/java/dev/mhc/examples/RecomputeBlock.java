// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.HyperConnection;
import dev.mhc.Recompute;
import dev.mhc.RecomputePlan;
import dev.mhc.Tensor;
import java.util.List;

/** Keeping one residual for each block of layers, and rebuilding the others when the backward comes to the block. */
public final class RecomputeBlock {
  private RecomputeBlock() {}

  /** Rebuilds the inputs of F of one block. */
  public static void rebuild(List<HyperConnection> layers, int block, Tensor keptResidual, Tensor[] storedF, Tensor[] h) {
    // @start region="recompute"
    RecomputePlan plan = RecomputePlan.of(layers.size(), 4);
    int start = plan.blockStarts().get(block);
    int end = plan.blockEnd(block, layers.size());
    Recompute recompute = Recompute.of(layers.subList(start, end)); // once
    recompute.run(keptResidual, null, storedF, null, h, null); // at each step
    // @end
  }
}
