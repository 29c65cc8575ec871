// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.ndarray.types.SparseFormat;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.djl.HyperConnectionBlock;
import dev.mhc.djl.HyperConnectionStack;
import java.util.ArrayList;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** A causal transformer on bytes: {@code [B, S]} INT64 to the logits of the next byte, {@code [B, S, 256]}. */
final class Transformer extends AbstractBlock implements AutoCloseable {
  static final int VALUES = 256;
  static final float NORM_EPS = 1e-6f;

  private final Settings settings;
  private final Parameter embedding;
  private final Parameter position;
  private final HyperConnectionStack stack;
  private final Parameter norm;
  private final Parameter head;

  Transformer(Device device, Settings settings) {
    this.settings = settings;
    int width = settings.width();
    var random = new SplittableRandom(settings.seed());
    embedding = addParameter(Weights.normal("embedding", random, 0.5, VALUES, width));
    position = addParameter(Weights.normal("position", random, 0.1, settings.context(), width));
    var layers = new ArrayList<HyperConnectionBlock>();
    double outputScale = 1 / Math.sqrt(settings.functions()); // so that the residual's variance stays near 1
    for (int l = 0; l < settings.layers(); l++) {
      layers.add(layer(device, new Attention(width, settings.heads(), outputScale, random), layers.size()));
      layers.add(layer(device, new FeedForward(width, outputScale, random), layers.size()));
    }
    stack = addChildBlock("stack", HyperConnectionStack.builder(layers).optRecompute(settings.recompute())
        .optType(settings.precision() == Settings.Precision.BF16 ? DType.BF16 : DType.FP32).build());
    norm = addParameter(Parameter.builder().setName("norm").setType(Parameter.Type.GAMMA).optShape(new Shape(width)).build());
    head = addParameter(Weights.normal("head", random, 0.02, VALUES, width));
  }

  private HyperConnectionBlock layer(Device device, Block function, int index) {
    return HyperConnectionBlock.builder(device, settings.kind().config(settings.streams()), function).optNorm(NORM_EPS)
        .optLayer(index).optSeed(settings.seed() + 1000 + index).build();
  }

  HyperConnectionStack stack() {
    return stack;
  }

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray z = stack.forward(store, new NDList(embed(store, inputs.singletonOrThrow(), training)), training).singletonOrThrow();
    return new NDList(logits(store, z, training));
  }

  /** {@code [B, S, C]} of {@code [B, S]}. */
  NDArray embed(ParameterStore store, NDArray bytes, boolean training) {
    ai.djl.Device device = ai.djl.Device.cpu();
    NDArray table = store.getValue(embedding, device, training);
    NDArray embedded = bytes.getNDArrayInternal().embedding(bytes, table, SparseFormat.DENSE).singletonOrThrow();
    return embedded.add(store.getValue(position, device, training));
  }

  /** {@code [B, S, 256]} of what leaves the layers. */
  NDArray logits(ParameterStore store, NDArray z, boolean training) {
    NDArray rms = z.square().mean(new int[] {-1}, true).add(NORM_EPS).sqrt();
    NDArray normed = z.div(rms).mul(store.getValue(norm, ai.djl.Device.cpu(), training));
    return Attention.linear(normed, store, head, training);
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return new Shape[] {inputShapes[0].add(VALUES)};
  }

  @Override
  protected void initializeChildBlocks(NDManager manager, DataType type, Shape... inputShapes) {
    stack.initialize(manager, type, inputShapes[0].add(settings.width()));
  }

  @Override
  public void close() {
    stack.close();
  }
}
