// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import ai.djl.training.initializer.Initializer;
import ai.djl.util.PairList;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A DJL block as the layer function F, with the hyper-connection around it.
 *
 * <pre>
 *   h     = sum_i preMix[i] x[i]                          normalised, if asked for: h / sqrt(mean(h^2) + eps) weight
 *   xNext[o] = sum_i resMix[o][i] x[i] + postMix[o] F(h)
 * </pre>
 *
 * <p>By itself it takes the residual, FLOAT32 {@code [..., n, C]}, to the next one, of the same shape. Layers that follow
 * each other belong into a {@link HyperConnectionStack}, which needs one pass over memory from F to F. F gets and gives
 * FLOAT32 {@code [..., C]}.
 *
 * <p>Parameters, all FLOAT32, where the mode has them: {@code projection [m, n C]}, {@code scale [3]}, {@code bias [m]},
 * and {@code normWeight [C]} with the norm. They begin as a plain residual. Closing frees what mhc
 * holds, until the next forward, and not the parameters.
 */
public final class HyperConnectionBlock extends AbstractBlock implements AutoCloseable {
  private final Device device;
  private final HyperConnectionConfig config;
  private final Block function;
  private final float normEps; // negative: no norm
  private final @Nullable ParameterMemory projection;
  private final @Nullable ParameterMemory scale;
  private final @Nullable ParameterMemory bias;
  private final @Nullable ParameterMemory normWeight;
  private final LayerStack alone;
  private @Nullable HyperConnection connection;

  /** What a layer's gradients are added to. */
  record LayerGradients(Gradients learned, @Nullable Tensor normWeight) {}

  private HyperConnectionBlock(Builder builder) {
    device = builder.device;
    config = builder.config;
    normEps = builder.normEps;
    function = addChildBlock("function", builder.function);
    boolean isDynamic = config.isDynamic();
    projection = isDynamic ? memory("projection", InitialValues.projection(builder.seed)) : null;
    scale = isDynamic ? memory("scale", InitialValues.scale()) : null;
    bias = config.mode() == Mode.RESIDUAL ? null : memory("bias", InitialValues.bias(config, builder.layer));
    normWeight = normEps < 0 ? null : memory("normWeight", InitialValues.ones());
    alone = new LayerStack(device, List.of(this), DType.FP32, false);
  }

  private ParameterMemory memory(String name, Initializer initializer) {
    return new ParameterMemory(device, addParameter(Parameter.builder().setName(name).setType(Parameter.Type.OTHER)
        .optInitializer(initializer).build()));
  }

  /**
   * A builder.
   *
   * @param device of the CPU, where the boundary runs
   * @param config conventions of the hyper-connection
   * @param function F
   */
  public static Builder builder(Device device, HyperConnectionConfig config, Block function) {
    return new Builder(device, config, function);
  }

  /** F. */
  public Block function() {
    return function;
  }

  /** Conventions of the hyper-connection. */
  public HyperConnectionConfig config() {
    return config;
  }

  Device device() {
    return device;
  }

  boolean hasNorm() {
    return normWeight != null;
  }

  float normEps() {
    return normEps;
  }

  // ------------------------------------------------------------------------------------------------ for LayerStack

  /** The hyper-connection on the parameters as they are now. */
  HyperConnection connection(ParameterStore store, boolean training) {
    var now = new Parameters(value(projection, store, training), value(scale, store, training),
        value(bias, store, training), null);
    if (connection == null || !connection.parameters().equals(now)) {
      if (connection != null) {
        connection.close();
      }
      connection = HyperConnection.create(device, config, now);
    }
    return connection;
  }

  @Nullable Tensor normWeight(ParameterStore store, boolean training) {
    return value(normWeight, store, training);
  }

  LayerGradients gradients(ParameterStore store, SegmentedGradientCollector collector) {
    return new LayerGradients(new Gradients(gradient(projection, store, collector), gradient(scale, store, collector),
        gradient(bias, store, collector), null), gradient(normWeight, store, collector));
  }

  private static @Nullable Tensor value(@Nullable ParameterMemory memory, ParameterStore store, boolean training) {
    return memory == null ? null : memory.value(store, training);
  }

  private static @Nullable Tensor gradient(@Nullable ParameterMemory memory, ParameterStore store,
      SegmentedGradientCollector collector) {
    return memory == null ? null : memory.gradient(store, collector);
  }

  // ------------------------------------------------------------------------------------------------ as a block

  @Override
  protected NDList forwardInternal(ParameterStore store, NDList inputs, boolean training,
      @Nullable PairList<String, Object> params) {
    NDArray x = DjlTensors.requireFloat("x", inputs.singletonOrThrow());
    Shape shape = checked(x.getShape());
    NDArray xNext = x.getManager().create(shape);
    long[] streams = streams(shape);
    try (Tensor out = DjlTensors.tensor(device, xNext, streams)) {
      Tensor in = DjlTensors.tensor(device, x.flatten(), streams);
      alone.forward(store, x.getManager(), in, layerShape(shape), out, training);
      if (training) {
        xNext.setRequiresGradient(true);
        SegmentedGradientCollector.current().add(new Residual(store, x, in, xNext));
      } else {
        in.close();
      }
    }
    return new NDList(xNext);
  }

  /** This layer alone, between two records of DJL. */
  private final class Residual implements SegmentedGradientCollector.Segment {
    private final ParameterStore store;
    private final NDArray x;
    private final Tensor in;
    private final NDArray xNext;

    Residual(ParameterStore store, NDArray x, Tensor in, NDArray xNext) {
      this.store = store;
      this.x = x;
      this.in = in;
      this.xNext = xNext;
    }

    @Override
    public void backward(SegmentedGradientCollector collector) {
      long[] streams = streams(x.getShape());
      try (NDManager manager = x.getManager().newSubManager(); NDArray given = xNext.getGradient()) {
        NDArray dX = manager.create(x.getShape());
        try (Tensor dXNext = DjlTensors.tensor(device, given, streams); Tensor out = DjlTensors.tensor(device, dX, streams)) {
          alone.backward(store, collector, dXNext, out);
        }
        collector.backwardFromAny(x, dX);
      } finally {
        in.close();
      }
    }

    @Override
    public void drop() {
      alone.drop();
      in.close();
    }
  }

  private Shape checked(Shape shape) {
    int rank = shape.dimension();
    if (rank < 2 || shape.get(rank - 2) != config.streams()) {
      throw new IllegalArgumentException("x is " + shape + "; expected [..., n, C] with n = " + config.streams());
    }
    return shape;
  }

  private static long[] streams(Shape shape) {
    int rank = shape.dimension();
    return new long[] {shape.size() / shape.get(rank - 1) / shape.get(rank - 2), shape.get(rank - 2), shape.get(rank - 1)};
  }

  private static Shape layerShape(Shape shape) {
    int rank = shape.dimension();
    return shape.slice(0, rank - 2).add(shape.get(rank - 1));
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return new Shape[] {checked(inputShapes[0])};
  }

  @Override
  protected void prepare(Shape[] inputShapes) {
    Shape shape = checked(inputShapes[0]);
    long width = shape.get(shape.dimension() - 1);
    for (Parameter parameter : parameters.values()) {
      parameter.setShape(switch (parameter.getName()) {
        case "projection" -> new Shape(config.mixCount(), config.streams() * width);
        case "scale" -> new Shape(3);
        case "bias" -> new Shape(config.mixCount());
        default -> new Shape(width);
      });
    }
  }

  @Override
  protected void initializeChildBlocks(NDManager manager, DataType type, Shape... inputShapes) {
    function.initialize(manager, type, layerShape(inputShapes[0]));
  }

  @Override
  public void clear() {
    close();
    super.clear();
  }

  @Override
  public void close() {
    alone.close();
    if (connection != null) {
      connection.close();
      connection = null;
    }
    for (ParameterMemory each : new @Nullable ParameterMemory[] {projection, scale, bias, normWeight}) {
      if (each != null) {
        each.close();
      }
    }
  }

  /** Collects what a layer is made of. */
  public static final class Builder {
    private final Device device;
    private final HyperConnectionConfig config;
    private final Block function;
    private float normEps = -1;
    private int layer;
    private long seed;

    private Builder(Device device, HyperConnectionConfig config, Block function) {
      this.device = device;
      this.config = config;
      this.function = function;
    }

    /**
     * F gets the RMSNorm of h, with a learned weight, made in the pass that makes h.
     *
     * @param eps at least 0
     */
    public Builder optNorm(float eps) {
      if (!(eps >= 0 && eps < Float.POSITIVE_INFINITY)) {
        throw new IllegalArgumentException("eps is " + eps + "; expected a finite number, at least 0");
      }
      normEps = eps;
      return this;
    }

    /**
     * Its place among the layers, from 0: which stream counts most in preMix at first.
     *
     * @param index at least 0
     */
    public Builder optLayer(int index) {
      if (index < 0) {
        throw new IllegalArgumentException("index is " + index + "; expected at least 0");
      }
      layer = index;
      return this;
    }

    /** The seed of the projection's first values. */
    public Builder optSeed(long value) {
      seed = value;
      return this;
    }

    /** The layer. */
    public HyperConnectionBlock build() {
      return new HyperConnectionBlock(this);
    }
  }
}
