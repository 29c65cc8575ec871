// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a stack does, with each layer by itself and DJL in between. The layers are initialised elsewhere. */
final class OneByOne extends AbstractBlock {
  private final List<HyperConnectionBlock> layers;

  OneByOne(List<HyperConnectionBlock> layers) {
    this.layers = layers;
    for (int l = 0; l < layers.size(); l++) {
      addChildBlock("layer" + l, layers.get(l));
    }
  }

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray embedding = inputs.singletonOrThrow();
    Shape shape = embedding.getShape();
    NDArray x = embedding.expandDims(2)
        .broadcast(shape.slice(0, 2).addAll(new Shape(Models.STREAMS, shape.get(2)))).add(0);
    for (HyperConnectionBlock layer : layers) {
      x = layer.forward(store, new NDList(x), training).singletonOrThrow();
    }
    return new NDList(x.mean(new int[] {2}));
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return inputShapes;
  }

  @Override
  protected void initializeChildBlocks(NDManager manager, DataType type, Shape... inputShapes) {}
}
