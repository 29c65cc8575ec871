// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.BiConsumer;

/** One layer with the residual streams around it. */
public final class FirstLayer {
  private FirstLayer() {}

  /** Runs one layer; attention reads its first argument and writes its second. */
  public static double[] layer(BiConsumer<Tensor, Tensor> attention) {
    int tokens = 16;
    int width = 64;
    // @start region="layer"
    HyperConnectionConfig config = HyperConnectionConfig.Preset.PAPER.config(4);
    try (Device device = Device.best();
        Parameters parameters = Parameters.initialize(device, config, width, 42);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.BF16, tokens, 4, width);
        Tensor h = device.tensor(DType.BF16, tokens, width);
        Tensor f = device.tensor(DType.BF16, tokens, width)) {
      x.fill(0.5);
      layer.pre(x, h); // the input of your layer, from the streams
      attention.accept(h, f); // yours
      layer.post(x, f, x); // its output, mixed back into the streams
      // @end
      return x.toDoubles();
    }
  }

  /** Sets up a device. */
  public static String device() {
    // @start region="device"
    try (Device device = Device.best()) {
      device.reserve(64 << 20); // optional: operations grow the workspace by themselves
      return device.name() + ", " + device.threads() + " threads, " + device.tier();
    } // closes every tensor and layer that is still open
    // @end
  }

  /** Chooses conventions. */
  public static HyperConnectionConfig config() {
    // @start region="config"
    HyperConnectionConfig trained = Preset.DEEPSEEK_V4.config(4);
    HyperConnectionConfig baseline = Preset.PAPER.builder(4).mode(Mode.HC).build();
    HyperConnectionConfig fewer = trained.toBuilder().iterations(10).build();
    // @end
    return baseline.equals(trained) ? trained : fewer;
  }

  /** Uses memory that is there already. */
  public static float wrap(Device device) {
    // @start region="wrap"
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment yours = arena.allocate(4 * 16 * 64L, 64); // FP32 of [16, 64]
      try (Tensor embedding = Tensor.wrap(device, DType.FP32, yours, 16, 64);
          Tensor x = device.tensor(DType.FP32, 16, 4, 64)) {
        embedding.fill(1);
        Expand.forward(embedding, x);
        return (float) x.slice(1, 3, 4).get(15, 0, 63); // the last stream
      }
    }
    // @end
  }
}
