// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Muon;
import dev.mhc.MuonConfig;
import dev.mhc.Tensor;

/** Training with Muon. */
public final class MuonStep {
  private MuonStep() {}

  public static void train(Device device, Tensor weight, Tensor gradient, int steps) {
    // @start region="muon"
    MuonConfig config = MuonConfig.Preset.DEEPSEEK_V4.config(); // 8 + 2 Newton-Schulz steps, Nesterov, updates of RMS 0.18
    try (Muon muon = Muon.create(device, config, weight.dim(0), weight.dim(1));
        Tensor momentum = device.tensor(DType.FP32, weight.shape())) {
      for (int step = 0; step < steps; step++) {
        // yours: the gradient of the loss
        muon.step(weight, gradient, momentum, 0.02f);
      }
    }
    // @end
  }
}
