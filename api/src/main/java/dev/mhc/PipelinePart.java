// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A stage in one direction: takes a micro-batch through its layers. Used by the thread that runs the stage. */
final class PipelinePart {
  /** What stays between the forward and the backward of a micro-batch. */
  private record Kept(Tensor x, Tensor[] f) {}

  private final List<HyperConnection> layers;
  private final List<Gradients> gradients;
  private final PipelineModel model;
  private final PipelineBuffers buffers;
  private final PipelineUrgent urgent;
  private final int segment;
  private final boolean training;
  private final boolean first;
  private final boolean last;
  private final @Nullable Recompute recompute;
  private final Map<Integer, Kept> kept = new HashMap<>();
  private final Tensor h;
  private final Tensor[] rebuiltH; // of each layer
  private final @Nullable Tensor[] rebuiltX; // of each layer but the first

  PipelinePart(PipelineStage.Part part, PipelineBuffers buffers, PipelineUrgent urgent, int segment, boolean training,
      boolean first, boolean last) {
    layers = part.layers();
    gradients = part.gradients();
    model = part.model();
    this.buffers = buffers;
    this.urgent = urgent;
    this.segment = segment;
    this.training = training;
    this.first = first;
    this.last = last;
    recompute = training ? Recompute.of(layers) : null;
    h = buffers.row();
    rebuiltH = new Tensor[training ? layers.size() : 0];
    rebuiltX = new Tensor[rebuiltH.length];
    for (int layer = 0; layer < rebuiltH.length; layer++) {
      rebuiltH[layer] = buffers.row();
      rebuiltX[layer] = layer == 0 ? null : buffers.residual();
    }
  }

  boolean isFirst() {
    return first;
  }

  boolean isLast() {
    return last;
  }

  /** Takes over what entered; returns what leaves. */
  Tensor forward(int microBatch, @Nullable Tensor arrived) {
    Tensor x = arrived != null ? arrived : buffers.residual();
    if (first) {
      model.begin(microBatch, x);
    }
    Tensor next = buffers.residual();
    var f = new Tensor[layers.size()];
    layers.get(0).pre(x, h);
    for (int layer = 0; layer < f.length; layer++) {
      f[layer] = training || layer == 0 ? buffers.row() : f[0];
      model.forward(microBatch, layer, h, f[layer]);
      Tensor from = layer == 0 ? x : next;
      HyperConnection own = layers.get(layer);
      HyperConnection following = layer + 1 < f.length ? layers.get(layer + 1) : null;
      Tensor out = f[layer];
      after(layer, () -> {
        if (following != null) {
          own.boundary(from, out, following, next, h);
        } else {
          own.post(from, out, next);
        }
      });
    }
    if (training) {
      kept.put(microBatch, new Kept(x, f));
    } else {
      buffers.release(x);
      buffers.release(f[0]);
    }
    return next;
  }

  /** Runs what follows F of a layer: first of all, if it is a feed-forward layer. */
  private void after(int layer, Runnable operations) {
    if (model.isFeedForward(layer)) {
      urgent.run(operations);
    } else {
      operations.run();
    }
  }

  /** Hands the model what left its last layer; returns its gradient, in training. */
  @Nullable Tensor end(int microBatch, Tensor x) {
    if (!training) {
      model.end(microBatch, x);
      return null;
    }
    Tensor gradient = buffers.residual();
    model.end(microBatch, x, gradient);
    return gradient;
  }

  /** Makes residuals, inputs of F and coefficients anew. */
  void rebuild(int microBatch) {
    Kept own = kept(microBatch);
    if (recompute != null) {
      recompute.run(own.x, null, own.f, rebuiltX, rebuiltH, null);
    }
  }

  /** Turns the gradient of what left into that of what entered, in place. */
  Tensor backward(int microBatch, Tensor gradient) {
    Kept own = kept(microBatch);
    Tensor dF = buffers.row();
    Tensor dH = buffers.row();
    postBackward(own, layers.size() - 1, gradient, dF);
    for (int layer = layers.size() - 1; layer >= 0; layer--) {
      model.backward(microBatch, layer, rebuiltH[layer], dF, dH);
      Gradients wanted = gradients.isEmpty() ? null : gradients.get(layer);
      LayerInputGradient dInput = LayerInputGradient.of(dH);
      if (layer > 0 && (segment == 0 || layer % segment != 0)) {
        HyperConnection before = layers.get(layer - 1);
        HyperConnection current = layers.get(layer);
        Tensor x = residual(own, layer - 1);
        Tensor f = own.f[layer - 1];
        after(layer - 1, () -> before.boundaryBackward(x, f, current, dInput, gradient, gradient, dF, wanted,
            Accumulate.PARAMETERS));
      } else {
        layers.get(layer).preBackward(residual(own, layer), dInput, gradient, gradient, wanted, Accumulate.PARAMETERS);
        if (layer > 0) {
          postBackward(own, layer - 1, gradient, dF);
        }
      }
    }
    buffers.release(dF);
    buffers.release(dH);
    buffers.release(own.x);
    for (Tensor f : own.f) {
      buffers.release(f);
    }
    kept.remove(microBatch);
    return gradient;
  }

  private void postBackward(Kept own, int layer, Tensor gradient, Tensor dF) {
    HyperConnection last = layers.get(layer);
    Tensor x = residual(own, layer);
    after(layer, () -> last.postBackward(x, own.f[layer], gradient, gradient, dF));
  }

  void beginBackward(int microBatch, Tensor gradient) {
    model.beginBackward(microBatch, gradient);
  }

  private Tensor residual(Kept own, int layer) {
    Tensor rebuilt = rebuiltX[layer];
    return rebuilt == null ? own.x : rebuilt;
  }

  private Kept kept(int microBatch) {
    Kept own = kept.get(microBatch);
    if (own == null) {
      throw new AssertionError("the schedule was checked");
    }
    return own;
  }

  void close() {
    kept.clear();
  }
}
