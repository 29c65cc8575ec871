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
import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Head;
import dev.mhc.HyperConnection;
import dev.mhc.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Layers with hyper-connections between an embedding and a head: a DJL block that takes FLOAT32 {@code [..., C]} to the same
 * shape. It copies its input to n streams, takes these through the layers, each boundary in one pass over memory, and gives
 * their mean.
 *
 * <p>In training it needs a {@link SegmentedGradientCollector}, as {@link SegmentedTrainer} has, and one backward for each
 * forward. Streams and what mhc gives F can be bfloat16; F computes in FLOAT32, as DJL's PyTorch engine has no bfloat16.
 * What mhc holds between steps is freed by closing, until the next forward, or by {@link #clear()}, which closes the parameters
 * too.
 */
public final class HyperConnectionStack extends AbstractBlock implements AutoCloseable {
  private final Device device;
  private final List<HyperConnectionBlock> layers;
  private final int streams;
  private final DType type;
  private final LayerStack stack;
  private final RowType rows;
  private @Nullable Tensor entering; // [T, n, C]
  private @Nullable Tensor leaving; // [T, n, C], then its gradient and that of what enters
  private long connectionNanos;

  private HyperConnectionStack(Builder builder) {
    layers = List.copyOf(builder.layers);
    HyperConnectionBlock first = layers.get(0);
    device = first.device();
    streams = first.config().streams();
    type = builder.type;
    for (int l = 0; l < layers.size(); l++) {
      checkLike(first, layers.get(l), l);
      addChildBlock("layer" + l, layers.get(l));
    }
    stack = new LayerStack(device, layers, type, builder.recompute);
    rows = new RowType(device, type);
  }

  private static void checkLike(HyperConnectionBlock first, HyperConnectionBlock layer, int index) {
    if (layer.device() != first.device()) {
      throw new IllegalArgumentException("layers[" + index + "] is on " + layer.device()
          + ", another device; expected that of layers[0]");
    }
    if (!layer.config().equals(first.config())) {
      throw new IllegalArgumentException("layers[" + index + "] has " + layer.config() + "; expected the config of"
          + " layers[0], " + first.config());
    }
  }

  /**
   * A builder.
   *
   * @param layers at least one, on one device and with equal configs; each its own object
   */
  public static Builder builder(List<HyperConnectionBlock> layers) {
    if (layers.isEmpty()) {
      throw new IllegalArgumentException("layers is empty; expected at least one");
    }
    return new Builder(layers);
  }

  /** The layers. */
  public List<HyperConnectionBlock> layers() {
    return layers;
  }

  /** The layers' hyper-connections, which hold the coefficients of the last forward; none before it. */
  public List<HyperConnection> connections() {
    return List.copyOf(stack.connections());
  }

  /** Nanoseconds spent in mhc so far, forward and backward. */
  public long connectionNanos() {
    return connectionNanos + stack.connectionNanos();
  }

  /** Nanoseconds spent in the layers' F so far, forward and backward. */
  public long functionNanos() {
    return stack.functionNanos();
  }

  /**
   * The first of the layers' tensors that holds a NaN or an infinity, in words ("layer 3, output of F"); null: none does.
   * Of a forward in training, before its backward.
   */
  public @Nullable String firstNotFinite() {
    return stack.firstNotFinite();
  }

  // ------------------------------------------------------------------------------------------------ forward, backward

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray embedding = DjlTensors.requireFloat("input", inputs.singletonOrThrow());
    Shape shape = checked(embedding.getShape());
    NDArray z = embedding.getManager().create(shape);
    long start = System.nanoTime();
    long inside = stack.connectionNanos() + stack.functionNanos();
    prepare(shape);
    try (NDArray flat = embedding.flatten(); Tensor in = rows(flat, shape)) {
      Expand.forward(rows.narrow(in), entering);
    }
    stack.forward(store, embedding.getManager(), entering, shape, leaving, training);
    try (Tensor out = rows(z, shape)) {
      Tensor target = rows.narrowTarget(out);
      Head.mean(leaving, target);
      rows.widen(target, out);
    }
    count(start, inside);
    if (training) {
      z.setRequiresGradient(true);
      SegmentedGradientCollector.current().add(new Layers(store, embedding, z));
    }
    return new NDList(z);
  }

  /** All the layers, between two records of DJL. */
  private final class Layers implements SegmentedGradientCollector.Segment {
    private final ParameterStore store;
    private final NDArray embedding;
    private final NDArray z;

    Layers(ParameterStore store, NDArray embedding, NDArray z) {
      this.store = store;
      this.embedding = embedding;
      this.z = z;
    }

    @Override
    public void backward(SegmentedGradientCollector collector) {
      long start = System.nanoTime();
      long inside = stack.connectionNanos() + stack.functionNanos();
      Shape shape = z.getShape();
      try (NDManager manager = embedding.getManager().newSubManager()) {
        NDArray dZ = z.getGradient();
        dZ.attach(manager);
        try (Tensor given = rows(dZ, shape)) {
          Head.meanBackward(rows.narrow(given), leaving, Accumulate.NONE);
        }
        stack.backward(store, collector, leaving, leaving);
        NDArray dEmbedding = manager.create(shape);
        try (Tensor out = rows(dEmbedding, shape)) {
          Tensor target = rows.narrowTarget(out);
          Expand.backward(leaving, target, Accumulate.NONE);
          rows.widen(target, out);
        }
        count(start, inside);
        collector.backwardFromAny(embedding, dEmbedding);
      }
    }

    @Override
    public void drop() {
      stack.drop();
    }
  }

  /** Adds the time since a moment that was not counted by the layers. */
  private void count(long start, long inside) {
    connectionNanos += System.nanoTime() - start - (stack.connectionNanos() + stack.functionNanos() - inside);
  }

  private Tensor rows(NDArray array, Shape shape) {
    long width = shape.get(shape.dimension() - 1);
    return DjlTensors.tensor(device, array, shape.size() / width, width);
  }

  private void prepare(Shape shape) {
    long width = shape.get(shape.dimension() - 1);
    long tokens = shape.size() / width;
    if (entering != null && entering.dim(0) == tokens && entering.dim(2) == width) {
      return;
    }
    free();
    entering = device.tensor(type, tokens, streams, width);
    leaving = device.tensor(type, tokens, streams, width);
  }

  private static Shape checked(Shape shape) {
    if (shape.dimension() < 1 || shape.size() == 0) {
      throw new IllegalArgumentException("input is " + shape + "; expected [..., C] with at least one element");
    }
    return shape;
  }

  // ------------------------------------------------------------------------------------------------ as a block

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return new Shape[] {checked(inputShapes[0])};
  }

  @Override
  protected void initializeChildBlocks(NDManager manager, DataType dataType, Shape... inputShapes) {
    Shape shape = checked(inputShapes[0]);
    int rank = shape.dimension();
    Shape each = shape.slice(0, rank - 1).add(streams, shape.get(rank - 1));
    layers.forEach(layer -> layer.initialize(manager, dataType, each));
  }

  @Override
  public void clear() {
    close();
    super.clear();
  }

  private void free() {
    rows.free();
    if (entering != null && leaving != null) {
      entering.close();
      leaving.close();
      entering = null;
      leaving = null;
    }
  }

  @Override
  public void close() {
    stack.close();
    free();
    layers.forEach(HyperConnectionBlock::close);
  }

  /** Collects what a stack is made of. */
  public static final class Builder {
    private final List<HyperConnectionBlock> layers;
    private DType type = DType.FP32;
    private boolean recompute;

    private Builder(List<HyperConnectionBlock> layers) {
      this.layers = layers;
    }

    /**
     * The type of streams and layer tensors inside mhc.
     *
     * @param value FP32, the default, or BF16, which halves what a boundary moves
     */
    public Builder optType(DType value) {
      if (value != DType.FP32 && value != DType.BF16) {
        throw new IllegalArgumentException("type is " + value + "; expected FP32 or BF16");
      }
      type = value;
      return this;
    }

    /**
     * Whether training keeps the residual of one layer in each block alone, and rebuilds the others in the backward, bit for
     * bit. The blocks are those of {@link dev.mhc.RecomputePlan}.
     */
    public Builder optRecompute(boolean value) {
      recompute = value;
      return this;
    }

    /** The stack. */
    public HyperConnectionStack build() {
      return new HyperConnectionStack(this);
    }
  }
}
