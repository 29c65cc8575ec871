// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.ParameterStore;
import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.LayerInput;
import dev.mhc.LayerInputGradient;
import dev.mhc.Recompute;
import dev.mhc.RecomputePlan;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Layers that follow each other, forward and backward, with one pass over memory from F to F. Of each block of layers the
 * residual that enters it is kept for the backward, and the others are rebuilt from it; without recomputing, each layer is
 * a block.
 */
final class LayerStack implements AutoCloseable {
  private final Device device;
  private final List<HyperConnectionBlock> layers;
  private final List<Integer> starts; // the first layer of each block
  private final int longest; // layers of a block
  private final RowType rows;
  private final List<Tensor> owned = new ArrayList<>();

  // For so many tokens of such a width.
  private long tokens = -1;
  private long width;
  private final @Nullable Tensor[] kept; // by layer, for the first ones of blocks but the very first
  private final @Nullable Tensor[] rebuilt; // by place in a block, from its second layer
  private @Nullable Tensor passing; // the residual where nobody keeps it

  // Of the last forward.
  private final List<HyperConnection> connections = new ArrayList<>();
  private final List<LayerFunction> functions = new ArrayList<>();
  private final @Nullable Tensor[] outputs; // of F, as the boundary takes them
  private @Nullable Tensor entering;
  private @Nullable NDManager manager;
  private long connectionNanos;
  private long functionNanos;

  LayerStack(Device device, List<HyperConnectionBlock> layers, DType type, boolean recompute) {
    this.device = device;
    this.layers = List.copyOf(layers);
    int count = layers.size();
    starts = recompute ? RecomputePlan.of(count, layers.get(0).config().streams()).blockStarts()
        : IntStream.range(0, count).boxed().toList();
    longest = IntStream.range(0, starts.size()).map(b -> end(b) - starts.get(b)).max().orElseThrow();
    rows = new RowType(device, type);
    kept = new Tensor[count];
    rebuilt = new Tensor[longest];
    outputs = new Tensor[count];
  }

  private int end(int block) {
    return block + 1 < starts.size() ? starts.get(block + 1) : layers.size();
  }

  List<HyperConnection> connections() {
    return connections;
  }

  long connectionNanos() {
    return connectionNanos;
  }

  long functionNanos() {
    return functionNanos;
  }

  // ------------------------------------------------------------------------------------------------ forward

  /**
   * Forward. In training a backward or {@link #drop()} has to follow before the next forward.
   *
   * @param x {@code [T, n, C]}, what enters; in training it stays unchanged until the backward is over
   * @param shape of F's input
   * @param xOut {@code [T, n, C]}, written
   */
  void forward(ParameterStore store, NDManager parent, Tensor x, Shape shape, Tensor xOut, boolean training) {
    if (manager != null) {
      throw new IllegalStateException("these layers were run forward before, and a backward has not come yet; expected one"
          + " backward for each forward in training");
    }
    SegmentedGradientCollector collector = training ? SegmentedGradientCollector.current() : null;
    prepare(x, training);
    connections.clear();
    layers.forEach(layer -> connections.add(layer.connection(store, training)));
    manager = parent.newSubManager();
    entering = x;
    boolean done = false;
    try {
      run(store, x, shape, xOut, training);
      done = true;
    } finally {
      if (!done || collector == null) {
        drop();
      }
    }
  }

  private void run(ParameterStore store, Tensor x, Shape shape, Tensor xOut, boolean training) {
    for (int l = 0; l < layers.size(); l++) {
      HyperConnectionBlock layer = layers.get(l);
      long start = System.nanoTime();
      var function = new LayerFunction(device, manager, shape);
      functions.add(function);
      Tensor h = rows.narrowTarget(function.input());
      LayerInput input = layer.hasNorm()
          ? LayerInput.normalized(layer.normWeight(store, training), layer.normEps(), h) : LayerInput.of(h);
      if (l == 0) {
        connections.get(0).pre(x, input);
      } else {
        Tensor next = residual(l, training);
        connections.get(l - 1).boundary(x, outputs[l - 1], connections.get(l), next, input);
        x = next;
      }
      rows.widen(h, function.input());
      long middle = System.nanoTime();
      function.run(layer.function(), store, training);
      long end = System.nanoTime();
      outputs[l] = rows.narrowCopy(l, function.output());
      connectionNanos += middle - start + System.nanoTime() - end;
      functionNanos += end - middle;
      if (!training && l > 0) {
        functions.get(l - 1).close();
      }
    }
    long start = System.nanoTime();
    int last = layers.size() - 1;
    connections.get(last).post(x, outputs[last], xOut);
    connectionNanos += System.nanoTime() - start;
  }

  /** Where the forward puts the residual that enters a layer, but for the first. */
  private Tensor residual(int layer, boolean training) {
    return training && kept[layer] != null ? kept[layer] : passing;
  }

  private void prepare(Tensor x, boolean training) {
    if (tokens != x.dim(0) || width != x.dim(2)) {
      free();
      tokens = x.dim(0);
      width = x.dim(2);
    }
    if (passing == null && (!training || longest > 1)) {
      passing = like(x);
    }
    if (!training) {
      return;
    }
    for (int start : starts) {
      if (start > 0 && kept[start] == null) {
        kept[start] = like(x);
      }
    }
    for (int i = 1; i < longest; i++) {
      if (rebuilt[i] == null) {
        rebuilt[i] = like(x);
      }
    }
  }

  private Tensor like(Tensor x) {
    Tensor tensor = device.tensor(x.dtype(), x.shape());
    owned.add(tensor);
    return tensor;
  }

  /** The first of a layer's tensors that is not all finite numbers, in words; null: all are. Before the backward. */
  @Nullable String firstNotFinite() {
    for (int l = 0; l < functions.size(); l++) {
      if (!NonFinite.isFinite(functions.get(l).input())) {
        return "layer " + l + ", input of F";
      }
      if (!NonFinite.isFinite(functions.get(l).output())) {
        return "layer " + l + ", output of F";
      }
    }
    return null;
  }

  // ------------------------------------------------------------------------------------------------ backward

  /**
   * Backward of the last forward in training. The parameters' gradients are added to those that DJL holds.
   *
   * @param dXOut gradient of what left
   * @param dX written: gradient of what entered; may be dXOut itself
   */
  void backward(ParameterStore store, SegmentedGradientCollector collector, Tensor dXOut, Tensor dX) {
    try (NDManager arrays = manager.newSubManager()) {
      NDArray given = arrays.create(new Shape(tokens * width));
      int block = starts.size() - 1;
      long start = System.nanoTime();
      try (Tensor dF32 = DjlTensors.tensor(device, given, tokens, width)) {
        Tensor dF = rows.narrowTarget(dF32);
        rebuild(block);
        int last = layers.size() - 1;
        connections.get(last).postBackward(residualIn(block, last), outputs[last], dXOut, dX, dF);
        for (int l = last; l >= 0; l--) {
          rows.widen(dF, dF32);
          long middle = System.nanoTime();
          try (Tensor dY32 = functions.get(l).backward(collector, given)) {
            long end = System.nanoTime();
            functionNanos += end - middle;
            connectionNanos += middle - start;
            start = end;
            if (l > 0 && l == starts.get(block)) {
              rebuild(--block);
            }
            entryBackward(store, collector, l, block, rows.narrow(dY32), dX, dF);
          }
          functions.get(l).close();
        }
      }
      connectionNanos += System.nanoTime() - start;
    } finally {
      drop();
    }
  }

  /** Backward of the boundary that enters a layer; block: that of the layer before. */
  private void entryBackward(ParameterStore store, SegmentedGradientCollector collector, int l, int block, Tensor dY,
      Tensor dX, Tensor dF) {
    HyperConnectionBlock layer = layers.get(l);
    HyperConnectionBlock.LayerGradients gradients = layer.gradients(store, collector);
    var dInput = new LayerInputGradient(dY, layer.normWeight(store, true), Math.max(0, layer.normEps()),
        gradients.normWeight());
    if (l == 0) {
      connections.get(0).preBackward(entering, dInput, dX, dX, gradients.learned(), Accumulate.PARAMETERS);
    } else {
      connections.get(l - 1).boundaryBackward(residualIn(block, l - 1), outputs[l - 1], connections.get(l), dInput, dX, dX,
          dF, gradients.learned(), Accumulate.PARAMETERS);
    }
  }

  /** The residual that enters a layer, of a block that is rebuilt. */
  private Tensor residualIn(int block, int layer) {
    int start = starts.get(block);
    return layer > start ? rebuilt[layer - start] : start == 0 ? entering : kept[start];
  }

  private void rebuild(int block) {
    int start = starts.get(block);
    int end = end(block);
    if (end - start == 1) {
      return;
    }
    var f = new Tensor[end - start];
    var residuals = new Tensor[end - start];
    System.arraycopy(outputs, start, f, 0, f.length);
    System.arraycopy(rebuilt, 1, residuals, 1, residuals.length - 1);
    boolean isShifted = layers.get(0).config().shifted() && start > 0;
    Tensor preMix = isShifted ? connections.get(start - 1).coefficients().preMix() : null;
    Recompute.of(connections.subList(start, end)).run(residualIn(block, start), preMix, f, residuals, null, null);
  }

  // ------------------------------------------------------------------------------------------------ lifetime

  /** Ends what the last forward has left for a backward. */
  void drop() {
    functions.forEach(LayerFunction::close);
    functions.clear();
    entering = null;
    if (manager != null) {
      manager.close();
      manager = null;
    }
  }

  private void free() {
    owned.forEach(Tensor::close);
    owned.clear();
    rows.free();
    passing = null;
    java.util.Arrays.fill(kept, null);
    java.util.Arrays.fill(rebuilt, null);
    tokens = -1;
  }

  @Override
  public void close() {
    drop();
    free();
  }
}
