// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_h;
import dev.mhc.bindings.generated.mhc_recompute_plan_args;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Where training keeps the residual so that it holds the fewest elements (arXiv 2512.24880, Eq. 20): blocks of the
 * length L_r that minimises {@code n C blocks + (n + 2) C longest}, about sqrt(n L / (n + 2)), never crossing a pipeline
 * stage.
 *
 * @param blockLength L_r
 * @param blockStarts the first layer of each block, ascending from 0
 * @param storedPerChannel what is kept all through the step: n times the number of blocks, in elements of C a token
 * @param transientPerChannel what one block's backward needs: n + 2 times the longest block, in the same unit
 */
public record RecomputePlan(int blockLength, List<Integer> blockStarts, double storedPerChannel,
    double transientPerChannel) {

  /** Checks the list, and copies it. */
  public RecomputePlan {
    for (int i = 0; i < Check.given("blockStarts", blockStarts, "a list").size(); i++) {
      Check.given("blockStarts[" + i + "]", blockStarts.get(i), "a layer");
    }
    blockStarts = List.copyOf(blockStarts);
  }

  /**
   * The plan for one pipeline stage.
   *
   * @param layers L, 1 to 1000000
   * @param streams n, 1 to 16
   */
  public static RecomputePlan of(int layers, int streams) {
    return make(layers, streams, 1, null);
  }

  /**
   * The plan for pipeline stages of equal length, the longer ones first where layers do not divide.
   *
   * @param layers L, 1 to 1000000
   * @param streams n, 1 to 16
   * @param stages 1 to layers
   */
  public static RecomputePlan ofEvenStages(int layers, int streams, int stages) {
    return make(layers, streams, stages, null);
  }

  /**
   * The plan for given pipeline stages.
   *
   * @param streams n, 1 to 16
   * @param stageLayers layers of each stage, each at least 1
   */
  public static RecomputePlan ofStages(int streams, int... stageLayers) {
    Check.given("stageLayers", stageLayers, "layers of each stage");
    Check.range("stageLayers.length", stageLayers.length, 1, 1_000_000);
    long layers = 0;
    for (int each : stageLayers) {
      Check.range("stageLayers", each, 1, 1_000_000);
      layers += each;
    }
    return make(layers, streams, stageLayers.length, stageLayers);
  }

  /**
   * The first layer behind a block.
   *
   * @param block its index, from 0
   * @param layers of the model, more than the last block's first
   */
  public int blockEnd(int block, int layers) {
    Check.range("block", block, 0, blockStarts.size() - 1L);
    Check.range("layers", layers, blockStarts.getLast() + 1L, 1_000_000);
    return block + 1 < blockStarts.size() ? blockStarts.get(block + 1) : layers;
  }

  private static RecomputePlan make(long layers, int streams, int stages, int @Nullable [] stageLayers) {
    Check.range("layers", layers, 1, 1_000_000);
    Check.range("streams", streams, 1, 16);
    Check.range("stages", stages, 1, layers);
    Native.library();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(mhc_recompute_plan_args.layout());
      MemorySegment starts = arena.allocate(ValueLayout.JAVA_INT, layers);
      mhc_recompute_plan_args.struct_size(block, block.byteSize());
      mhc_recompute_plan_args.layers(block, (int) layers);
      mhc_recompute_plan_args.streams(block, streams);
      mhc_recompute_plan_args.stages(block, stages);
      mhc_recompute_plan_args.stage_layers(block,
          stageLayers == null ? MemorySegment.NULL : arena.allocateFrom(ValueLayout.JAVA_INT, stageLayers));
      mhc_recompute_plan_args.block_starts(block, starts);
      Native.check(mhc_h.mhc_recompute_plan(block), "mhc_recompute_plan", null);
      int blocks = mhc_recompute_plan_args.blocks(block);
      return new RecomputePlan(mhc_recompute_plan_args.block_length(block),
          IntStream.range(0, blocks).mapToObj(i -> starts.getAtIndex(ValueLayout.JAVA_INT, i)).toList(),
          mhc_recompute_plan_args.stored_per_channel(block), mhc_recompute_plan_args.transient_per_channel(block));
    }
  }
}
