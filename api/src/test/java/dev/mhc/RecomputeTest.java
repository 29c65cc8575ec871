// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.HyperConnectionConfig.Preset;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RecomputeTest {
  private static final int LAYERS = 5;
  private static final int T = 7;
  private static final int N = 4;
  private static final int C = 48;

  /** A block rebuilt in one call has the bits that its boundaries made one by one. */
  @ParameterizedTest
  @EnumSource(names = {"PAPER", "DEEPSEEK_V4_1"})
  void isBitForBitTheForward(Preset preset) {
    HyperConnectionConfig config = preset.config(N);
    var random = new SplittableRandom(11);
    try (Device device = Device.cpu()) {
      var layers = new ArrayList<HyperConnection>();
      var x = new Tensor[LAYERS + 1];
      var h = new Tensor[LAYERS];
      var f = new Tensor[LAYERS];
      var coefficients = new ArrayList<double[]>();
      for (int l = 0; l <= LAYERS; l++) {
        x[l] = device.tensor(DType.BF16, T, N, C);
        if (l < LAYERS) {
          layers.add(HyperConnection.create(device, config, Parameters.initialize(device, config, C, l)));
          h[l] = device.tensor(DType.BF16, T, C);
          f[l] = device.tensor(DType.BF16, T, C).copyFrom(random.doubles(T * C, -2, 2).toArray());
        }
      }
      x[0].copyFrom(random.doubles(T * N * C, -2, 2).toArray());
      layers.get(0).pre(x[0], h[0]);
      for (int l = 0; l + 1 < LAYERS; l++) {
        layers.get(l).boundary(x[l], f[l], layers.get(l + 1), x[l + 1], h[l + 1]);
      }
      layers.get(LAYERS - 1).post(x[LAYERS - 1], f[LAYERS - 1], x[LAYERS]);
      layers.forEach(layer -> coefficients.add(layer.coefficients().resMix().toDoubles()));

      var residuals = new Tensor[LAYERS];
      var inputs = new Tensor[LAYERS];
      for (int l = 0; l < LAYERS; l++) {
        residuals[l] = l == 0 ? null : device.tensor(DType.BF16, T, N, C);
        inputs[l] = device.tensor(DType.BF16, T, C);
      }
      Tensor xNext = device.tensor(DType.BF16, T, N, C);
      Recompute.of(layers).run(x[0], null, f, residuals, inputs, xNext);
      for (int l = 0; l < LAYERS; l++) {
        assertThat(inputs[l].toDoubles()).as("h of layer " + l).isEqualTo(h[l].toDoubles());
        assertThat(layers.get(l).coefficients().resMix().toDoubles()).isEqualTo(coefficients.get(l));
        if (l > 0) {
          assertThat(residuals[l].toDoubles()).as("x of layer " + l).isEqualTo(x[l].toDoubles());
        }
      }
      assertThat(xNext.toDoubles()).isEqualTo(x[LAYERS].toDoubles());
    }
  }

  /** The paper's formula for 60 layers of 4 streams: about sqrt(4 60 / 6) = 6.3. */
  @Test
  void planOfThePaper() {
    RecomputePlan plan = RecomputePlan.of(60, 4);
    assertThat(plan.blockLength()).isEqualTo(6);
    assertThat(plan.blockStarts()).isEqualTo(List.of(0, 6, 12, 18, 24, 30, 36, 42, 48, 54));
    assertThat(plan.storedPerChannel()).isEqualTo(40);
    assertThat(plan.transientPerChannel()).isEqualTo(36);
    assertThat(plan.blockEnd(8, 60)).isEqualTo(54);
    assertThat(plan.blockEnd(9, 60)).isEqualTo(60);
  }

  @Test
  void blocksStayWithinStages() {
    assertThat(RecomputePlan.ofEvenStages(61, 4, 4).blockStarts()).contains(0, 16, 31, 46);
    assertThat(RecomputePlan.ofStages(4, 3, 20, 1).blockStarts()).contains(0, 3, 23);
  }
}
