// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Event;
import dev.mhc.Graph;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.Parameters;
import dev.mhc.Tensor;

/** A boundary on whatever device there is, captured once and launched often; how long a launch takes there. */
public final class StreamsAndGraphs {
  private StreamsAndGraphs() {}

  public static double milliseconds(Device device, long tokens, long width) {
    HyperConnectionConfig config = HyperConnectionConfig.Preset.DEEPSEEK_V4.config(4);
    try (Parameters parameters = Parameters.initialize(device, config, width, 1);
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        HyperConnection next = HyperConnection.create(device, config, parameters);
        Tensor x = device.tensor(DType.BF16, tokens, 4, width).fill(1);
        Tensor f = device.tensor(DType.BF16, tokens, width).fill(0.5);
        Tensor h = device.tensor(DType.BF16, tokens, width)) {
      layer.pre(x, h);
      // @start region="graph"
      layer.boundary(x, f, next, x, h); // on a GPU: put on the device's stream, done later
      try (Graph step = Graph.capture(device, () -> layer.boundary(x, f, next, x, h)); // nothing is computed here
          Event start = device.stream().record()) {
        for (int i = 0; i < 10; i++) {
          step.launch(); // at the price of one call
        }
        try (Event end = device.stream().record()) {
          return end.millisecondsSince(start) / 10; // waits; so does reading a tensor's values
        }
      }
      // @end
    }
  }
}
