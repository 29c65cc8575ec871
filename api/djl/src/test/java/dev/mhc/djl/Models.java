// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.core.Linear;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import ai.djl.training.initializer.Initializer;
import dev.mhc.CpuOptions;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** Small models and steps that the tests share. Everything random is so from a seed. */
final class Models {
  static final int STREAMS = 4;
  static final float EPS = 1e-6f;

  private Models() {}

  /** One thread: these models are small. */
  static dev.mhc.Device device() {
    return dev.mhc.Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  static NDManager manager() {
    return NDManager.newBaseManager(Device.cpu(), "PyTorch");
  }

  static HyperConnectionConfig config(Mode mode) {
    return HyperConnectionConfig.builder().streams(STREAMS).mode(mode).build();
  }

  /** Two linear layers with an activation in between. */
  static Block function(int width) {
    return new SequentialBlock().add(Linear.builder().setUnits(2 * width).build()).add(Activation.geluBlock())
        .add(Linear.builder().setUnits(width).build());
  }

  static List<HyperConnectionBlock> layers(dev.mhc.Device device, HyperConnectionConfig config, int count, int width) {
    var layers = new ArrayList<HyperConnectionBlock>();
    for (int l = 0; l < count; l++) {
      layers.add(HyperConnectionBlock.builder(device, config, function(width)).optNorm(EPS).optLayer(l).optSeed(l).build());
    }
    return layers;
  }

  /** The first values of every parameter, larger than usual, so that each counts. */
  static <B extends Block> B initialize(B block, NDManager manager, Shape shape) {
    for (Parameter parameter : block.getParameters().values()) {
      if (parameter.getType() == Parameter.Type.WEIGHT || parameter.getName().equals("scale")) {
        parameter.setInitializer(normal(parameter.getName().hashCode(), 0.5));
      }
    }
    block.initialize(manager, DataType.FLOAT32, shape);
    return block;
  }

  static Initializer normal(long seed, double deviation) {
    return (manager, shape, type) -> random(manager, seed, deviation, shape);
  }

  static NDArray random(NDManager manager, long seed, double deviation, Shape shape) {
    var random = new SplittableRandom(seed);
    var values = new float[Math.toIntExact(shape.size())];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * deviation);
    }
    return manager.create(values, shape);
  }

  /** Gradients by name, and "input" and "output" of a model whose loss is the scalar product of its output with weights. */
  static Map<String, float[]> step(Block block, NDManager manager, Shape shape) {
    var values = new LinkedHashMap<String, float[]>();
    try (NDManager arrays = manager.newSubManager();
        GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
      NDArray x = random(arrays, 1, 1, shape);
      x.setRequiresGradient(true);
      NDArray y = block.forward(new ParameterStore(manager, false), new NDList(x), true).singletonOrThrow();
      values.put("output", y.toFloatArray());
      collector.backward(y.mul(random(arrays, 2, 1, y.getShape())).sum());
      values.put("input", x.getGradient().toFloatArray());
      block.getParameters().forEach(pair -> {
        if (pair.getValue().requiresGradient()) {
          try (NDArray gradient = pair.getValue().getArray().getGradient()) {
            values.put(pair.getKey(), gradient.toFloatArray());
            gradient.subi(gradient);
          }
        }
      });
    }
    return values;
  }
}
