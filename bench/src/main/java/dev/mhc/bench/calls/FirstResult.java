// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;

/** A process that loads mhc, computes the input of one layer, and ends; or with an argument one that just ends. */
public final class FirstResult {
  private FirstResult() {}

  /** Does it. */
  public static void main(String... arguments) {
    if (arguments.length > 0) {
      return;
    }
    HyperConnectionConfig config = Preset.PAPER.config(4);
    try (Device device = Device.best();
        Parameters parameters = Parameters.initialize(device, config, 64, 1);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.BF16, 1, 4, 64).fill(1);
        Tensor h = device.tensor(DType.BF16, 1, 64)) {
      layer.pre(x, h);
      if (!(Math.abs(h.get(0, 0) - 2) < 0.1)) { // four streams of ones, each weighted by sigmoid(0.01 mix), about a half
        throw new IllegalStateException("h is " + h.get(0, 0) + "; expected about 2");
      }
    }
  }
}
