// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.nn.Parameter;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import dev.mhc.djl.DjlTensors;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** A parameter as the optimiser sees it: its value and gradient on DJL's memory, and what the optimiser remembers of it. */
final class Learned implements AutoCloseable {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  final String name;
  final boolean isMatrix;
  final boolean isHidden; // Muon's
  final Tensor value;
  final Tensor momentum; // AdamW's first moment, or Muon's momentum
  final @Nullable Tensor square; // AdamW's second moment
  private final Parameter parameter;
  private final Device device;
  private @Nullable Tensor gradient;

  Learned(Device device, String name, Parameter parameter, boolean isHidden) {
    this.device = device;
    this.name = name;
    this.parameter = parameter;
    this.isHidden = isHidden;
    value = DjlTensors.tensor(device, parameter.getArray());
    isMatrix = value.rank() == 2;
    momentum = device.tensor(DType.FP32, value.shape());
    square = isHidden ? null : device.tensor(DType.FP32, value.shape());
  }

  /** Where DJL adds the gradient; it stays there from the first backward on. */
  Tensor gradient() {
    if (gradient == null) {
      gradient = DjlTensors.tensor(device, parameter.getArray().getGradient());
    }
    return gradient;
  }

  /** Sum of the gradient's squares. */
  double gradientSquares() {
    MemorySegment g = gradient().segment();
    double sum = 0;
    for (long at = 0; at < g.byteSize(); at += Float.BYTES) {
      double each = g.get(FLOAT, at);
      sum += each * each;
    }
    return sum;
  }

  void scaleGradient(float factor) {
    MemorySegment g = gradient().segment();
    for (long at = 0; at < g.byteSize(); at += Float.BYTES) {
      g.set(FLOAT, at, factor * g.get(FLOAT, at));
    }
  }

  void clearGradient() {
    gradient().segment().fill((byte) 0);
  }

  @Override
  public void close() {
    for (Tensor each : new @Nullable Tensor[] {value, momentum, square, gradient}) {
      if (each != null) {
        each.close();
      }
    }
  }
}
