// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** {@code down gelu(up y)}, four times as wide inside. */
final class FeedForward extends AbstractBlock {
  private static final int WIDER = 4;

  private final Parameter up;
  private final Parameter down;

  /** outputScale: multiplies the output's first values. */
  FeedForward(int width, double outputScale, SplittableRandom random) {
    int inside = WIDER * width;
    up = addParameter(Weights.normal("up", random, 1 / Math.sqrt(width), inside, width));
    down = addParameter(Weights.normal("down", random, outputScale / Math.sqrt(inside), width, inside));
  }

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray inside = Attention.linear(inputs.singletonOrThrow(), store, up, training).getNDArrayInternal().gelu();
    return new NDList(Attention.linear(inside, store, down, training));
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return inputShapes;
  }
}
