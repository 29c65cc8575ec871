// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.HyperConnectionConfig.Orientation;
import org.jspecify.annotations.Nullable;

/**
 * An FP8 product that cuBLASLt does not have: dequantised by libmhc, multiplied and finished in float32, and rounded by the pre
 * of a single stream. Guarded by the device's lock.
 */
final class CudaWideFp8 {
  private final CudaDevice device;
  private final Turns turns = new Turns();
  private final Fp8GemmConfig config;
  private final CudaGemm product;
  private final WideFp8 a;
  private final WideFp8 b;
  private final Tensor d; // [m, n], as the next of float32
  private final Tensor bias; // [1, n]
  private final Tensor ones; // [m, 1]

  /** Of a product that is not empty. */
  CudaWideFp8(CudaDevice device, Fp8GemmConfig config) {
    this.device = device;
    this.config = config;
    product = new CudaGemm(device, GemmConfig.of(DType.FP32, config.m(), config.n(), config.k()).withTransposed(false, true)
        .withEpilogue(config.bias(), config.activation()));
    a = new WideFp8(device, config.aScaling(), config.m(), config.k());
    b = new WideFp8(device, config.bScaling(), config.n(), config.k());
    boolean rounds = config.dType() != DType.FP32;
    d = room(device, rounds ? config.m() : 0, config.n());
    bias = room(device, rounds && config.bias() ? 1 : 0, config.n());
    ones = room(device, rounds ? config.m() : 0, 1).fill(1);
  }

  private static Tensor room(CudaDevice device, long rows, long columns) {
    return Tensor.allocate(device, DType.FP32, new long[] {rows, columns}, false);
  }

  /** Operands are right. */
  void compute(Tensor values, Tensor scale, Tensor others, Tensor otherScale, @Nullable Tensor shift, Tensor target) {
    device.takeTurn(turns);
    a.take(values, scale);
    b.take(others, otherScale);
    if (target.dtype() == DType.FP32) {
      product.compute(a.values, b.values, shift, target);
      return;
    }
    Tensor added = null;
    if (shift != null) {
      added = widened(shift);
    }
    product.compute(a.values, b.values, added, d);
    Operations.pre(d.reshape(config.m(), 1, config.n()), ones, target);
  }

  /** {@code 0 + 1 shift}, by the post of a single stream. */
  private Tensor widened(Tensor shift) {
    Tensor one = ones.slice(0, 0, 1);
    Tensor sum = bias.reshape(1, 1, config.n());
    device.zero(bias.memory());
    Operations.post(Orientation.OUT_IN, sum, shift.reshape(1, config.n()), one, one.reshape(1, 1, 1), sum);
    return bias.reshape(config.n());
  }

  void close() {
    product.release();
    a.close();
    b.close();
    for (Tensor each : new Tensor[] {d, bias, ones}) {
      each.close();
    }
  }
}
