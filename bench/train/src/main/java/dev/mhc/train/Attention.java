// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** Causal self-attention of several heads on {@code [B, S, C]}. */
final class Attention extends AbstractBlock {
  private final int heads;
  private final Parameter query;
  private final Parameter key;
  private final Parameter value;
  private final Parameter output;
  private @Nullable NDArray scale; // kept: of mul(2.0) DJL frees the 2.0 while the backward still needs it
  private @Nullable NDArray mask;

  /** outputScale: multiplies the output's first values. */
  Attention(int width, int heads, double outputScale, SplittableRandom random) {
    this.heads = heads;
    double deviation = 1 / Math.sqrt(width);
    query = addParameter(Weights.normal("query", random, deviation, width, width));
    key = addParameter(Weights.normal("key", random, deviation, width, width));
    value = addParameter(Weights.normal("value", random, deviation, width, width));
    output = addParameter(Weights.normal("output", random, outputScale * deviation, width, width));
  }

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray y = inputs.singletonOrThrow();
    Shape shape = y.getShape();
    NDArray q = split(linear(y, store, query, training)).mul(scale(shape.get(2)));
    NDArray k = split(linear(y, store, key, training));
    NDArray v = split(linear(y, store, value, training));
    NDArray scores = q.matMul(k.transpose(0, 1, 3, 2)).add(mask((int) shape.get(1)));
    NDArray mixed = scores.softmax(-1).matMul(v).transpose(0, 2, 1, 3).reshape(shape);
    return new NDList(linear(mixed, store, output, training));
  }

  /** {@code [B, S, C]} as {@code [B, heads, S, C / heads]}. */
  private NDArray split(NDArray rows) {
    Shape shape = rows.getShape();
    return rows.reshape(shape.get(0), shape.get(1), heads, shape.get(2) / heads).transpose(0, 2, 1, 3);
  }

  private NDArray scale(long width) {
    if (scale == null) {
      scale = query.getArray().getManager().create((float) (1 / Math.sqrt((double) width / heads)));
    }
    return scale;
  }

  /** Added to a score: nothing for what came before, and very little for what comes later. */
  private NDArray mask(int length) {
    if (mask == null || mask.getShape().get(0) != length) {
      var values = new float[length * length];
      for (int at = 0; at < length; at++) {
        Arrays.fill(values, at * length + at + 1, (at + 1) * length, -1e9f);
      }
      mask = query.getArray().getManager().create(values, new Shape(length, length));
    }
    return mask;
  }

  static NDArray linear(NDArray x, ParameterStore store, Parameter weight, boolean training) {
    NDArray w = store.getValue(weight, Device.cpu(), training);
    return x.getNDArrayInternal().linear(x, w, null).singletonOrThrow();
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return inputShapes;
  }
}
