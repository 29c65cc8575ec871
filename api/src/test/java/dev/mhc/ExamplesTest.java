// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.mhc.examples.FirstLayer;
import dev.mhc.examples.LayerInputs;
import dev.mhc.examples.RecomputeBlock;
import dev.mhc.examples.TrainingStep;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The documentation's examples do what they say. */
class ExamplesTest {
  private static final HyperConnectionConfig CONFIG = HyperConnectionConfig.Preset.PAPER.config(4);

  @Test
  void firstLayer() {
    // With a layer function of zero, equal streams stay what they are: rows of the mixing matrix add up to 1.
    assertThat(FirstLayer.layer((h, f) -> f.fill(0))).usingComparatorWithPrecision(0.004).containsOnly(0.5);
    assertThat(FirstLayer.device()).contains("threads");
    assertThat(FirstLayer.config().iterations()).isEqualTo(10);
    try (Device device = Device.cpu()) {
      assertThat(FirstLayer.wrap(device)).isEqualTo(1);
    }
  }

  @Test
  void layerInputs() {
    try (Device device = Device.cpu();
        Parameters parameters = Parameters.initialize(device, CONFIG, 64, 1);
        HyperConnection layer = HyperConnection.create(device, CONFIG, parameters)) {
      Tensor x = device.tensor(DType.BF16, 3, 4, 64).fill(1);
      double error = LayerInputs.norm(device, layer, x, device.tensor(DType.FP32, 64).fill(1));
      assertThat(error).isCloseTo(0, within(0.07));
    }
  }

  @Test
  void recompute() {
    try (Device device = Device.cpu(); Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1)) {
      HyperConnection only = HyperConnection.create(device, CONFIG, parameters);
      Tensor x = device.tensor(DType.FP32, 2, 4, 8).fill(1);
      Tensor expected = device.tensor(DType.FP32, 2, 8);
      only.pre(x, expected);
      Tensor h = device.tensor(DType.FP32, 2, 8);
      RecomputeBlock.rebuild(List.of(only), 0, x, new Tensor[1], new Tensor[] {h});
      assertThat(h.toDoubles()).isEqualTo(expected.toDoubles());
    }
  }

  /** With F(h) = h the whole step is linear in its derivative: the gradient of the sum of x2 adds up. */
  @Test
  void trainingStep() {
    var identity = new TrainingStep.Layer() {
      @Override
      public void forward(Tensor h, Tensor f) {
        f.copyFrom(h);
      }

      @Override
      public void backward(Tensor h, Tensor dF, Tensor dH) {
        dH.copyFrom(dF);
      }
    };
    try (Device device = Device.cpu(); Parameters parameters = Parameters.initialize(device, CONFIG, 8, 1)) {
      var tensors = new Tensor[10];
      for (int i = 0; i < 10; i++) {
        boolean streams = i < 4;
        tensors[i] = streams ? device.tensor(DType.FP32, 2, 4, 8) : device.tensor(DType.FP32, 2, 8);
      }
      tensors[0].fill(1);
      tensors[3].fill(1);
      Gradients gradients = Gradients.like(parameters);
      TrainingStep.step(HyperConnection.create(device, CONFIG, parameters),
          HyperConnection.create(device, CONFIG, parameters), identity, identity, tensors[0], tensors[1], tensors[2],
          tensors[4], tensors[5], tensors[6], tensors[7], tensors[3], tensors[8], tensors[9], gradients, gradients);
      double x2 = java.util.Arrays.stream(tensors[2].toDoubles()).sum();
      double product = java.util.Arrays.stream(tensors[3].toDoubles()).sum();
      // Coefficients hardly depend on the scale of x (Euler: x . dL/dx = L for a function of degree 1).
      assertThat(product).isCloseTo(x2, within(1e-3 * Math.abs(x2)));
    }
  }
}
