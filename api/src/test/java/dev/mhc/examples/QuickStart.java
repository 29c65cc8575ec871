// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

// @start region="program"
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;

/** Two layers of a stack, forward: the shortest complete program. */
public final class QuickStart {
  public static void main(String... arguments) {
    int tokens = 64;
    int width = 1280;
    HyperConnectionConfig config = Preset.DEEPSEEK_V4.config(4); // 4 streams
    try (Device device = Device.best(); // the first GPU, or else this CPU with all its threads
        Parameters parameters = Parameters.initialize(device, config, width, 42);
        HyperConnection first = HyperConnection.create(device, config, parameters);
        HyperConnection second = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.BF16, tokens, 4, width).fill(0.5);
        Tensor h = device.tensor(DType.BF16, tokens, width);
        Tensor f = device.tensor(DType.BF16, tokens, width)) {
      first.pre(x, h); // coefficients of the first layer, and the input of its F
      attention(h, f);
      first.boundary(x, f, second, x, h); // one pass: the residual in place, the second layer's coefficients, its input
      attention(h, f);
      second.post(x, f, x);
      System.out.println(device + ": x[0, 0, 0] = " + x.get(0, 0, 0));
    }
  }

  private static void attention(Tensor h, Tensor f) { // yours
    f.copyFrom(h);
  }
}
// @end
