// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.training.ParameterStore;
import dev.mhc.Device;
import dev.mhc.Tensor;
import org.jspecify.annotations.Nullable;

/** One run of F, in a record of DJL of its own: from its input, which mhc writes, to its output, which mhc reads. */
final class LayerFunction implements AutoCloseable {
  private final Device device;
  private final NDManager manager;
  private final NDArray input;
  private final Tensor inputMemory;
  private @Nullable NDArray output; // flat, and so without gaps
  private @Nullable Tensor outputMemory;

  /** Room for the input, {@code [..., C]} FLOAT32. */
  LayerFunction(Device device, NDManager parent, Shape shape) {
    this.device = device;
    manager = parent.newSubManager();
    input = manager.create(shape);
    inputMemory = rows(input);
  }

  private Tensor rows(NDArray array) {
    long width = input.getShape().get(input.getShape().dimension() - 1);
    return DjlTensors.tensor(device, array, array.size() / width, width);
  }

  /** {@code [T, C]}. */
  Tensor input() {
    return inputMemory;
  }

  /** {@code [T, C]}, of the last run. */
  Tensor output() {
    return outputMemory;
  }

  /** Runs F on what the input holds. */
  void run(Block function, ParameterStore store, boolean training) {
    input.setRequiresGradient(training);
    try (NDManager passing = manager.newSubManager()) {
      input.attach(passing); // and with it what F computes on the way
      NDArray made = function.forward(store, new NDList(input), training).singletonOrThrow();
      if (!made.getShape().equals(input.getShape())) {
        throw new IllegalArgumentException("F makes " + made.getShape() + " of " + input.getShape()
            + "; expected its input's shape");
      }
      output = made.flatten();
      output.attach(manager);
      input.attach(manager);
    }
    outputMemory = rows(output);
  }

  /** Sends a gradient of the output through F; its parameters' gradients grow. The gradient of the input, {@code [T, C]}. */
  Tensor backward(SegmentedGradientCollector collector, NDArray dOutput) {
    collector.backward(output, dOutput);
    return rows(input.getGradient()); // which ends with its manager
  }

  @Override
  public void close() {
    inputMemory.close();
    if (outputMemory != null) {
      outputMemory.close();
    }
    manager.close();
  }
}
