// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Fp8;
import dev.mhc.HyperConnection;
import dev.mhc.LayerInput;
import dev.mhc.Tensor;

/** More than h: the norm that most layers begin with, and FP8 for the product that follows. */
public final class LayerInputs {
  private LayerInputs() {}

  /** Runs a layer's entry with a norm and FP8. */
  public static double norm(Device device, HyperConnection layer, Tensor x, Tensor weight) {
    long tokens = x.dim(0);
    long width = x.dim(2);
    // @start region="norm"
    try (Tensor y = device.tensor(DType.BF16, tokens, width);
        Tensor fp8 = device.tensor(DType.FP8_E4M3, tokens, width);
        Tensor scale = device.tensor(DType.FP32, Fp8.scaleShape(Fp8.Tile.ROW, tokens, width))) {
      LayerInput input = LayerInput.normalized(weight, 1e-6f, y).withFp8(fp8, scale, Fp8.Rounding.EXACT);
      layer.pre(x, input); // coefficients, h, its norm and its FP8 in one pass; h itself is not stored
      // @end
      return fp8.get(0, 0) * scale.get(0, 0) - y.get(0, 0);
    }
  }
}
