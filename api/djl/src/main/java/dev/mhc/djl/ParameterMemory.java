// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.ndarray.NDArray;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import dev.mhc.Device;
import dev.mhc.Tensor;
import org.jspecify.annotations.Nullable;

/** A DJL parameter, and its gradient, as tensors on DJL's own memory. The same tensors as long as that memory stays. */
final class ParameterMemory implements AutoCloseable {
  private final Device device;
  private final Parameter parameter;
  private @Nullable Tensor value;
  private @Nullable Tensor gradient;

  ParameterMemory(Device device, Parameter parameter) {
    this.device = device;
    this.parameter = parameter;
  }

  Tensor value(ParameterStore store, boolean training) {
    return value = view(value, array(store, training));
  }

  /** Where its gradient gathers; null if it is frozen. */
  @Nullable Tensor gradient(ParameterStore store, SegmentedGradientCollector collector) {
    if (!parameter.requiresGradient()) {
      return null;
    }
    NDArray array = array(store, true);
    try (NDArray first = array.getGradient(); NDArray second = array.getGradient()) {
      // Before there is one, DJL answers with zeros, others each time.
      if (DjlTensors.memory(first).address() == DjlTensors.memory(second).address()) {
        return gradient = view(gradient, first);
      }
    }
    try (NDArray zeros = array.zerosLike(); NDArray nothing = array.mul(zeros); NDArray sum = nothing.sum()) {
      collector.backwardOfEngine(sum);
    }
    try (NDArray made = array.getGradient()) {
      return gradient = view(gradient, made);
    }
  }

  private NDArray array(ParameterStore store, boolean training) {
    return store.getValue(parameter, ai.djl.Device.cpu(), training);
  }

  private Tensor view(@Nullable Tensor last, NDArray array) {
    if (last != null && last.segment().address() == DjlTensors.memory(array).address()) {
      return last;
    }
    if (last != null) {
      last.close();
    }
    return DjlTensors.tensor(device, array);
  }

  @Override
  public void close() {
    for (Tensor each : new @Nullable Tensor[] {value, gradient}) {
      if (each != null) {
        each.close();
      }
    }
    value = null;
    gradient = null;
  }
}
