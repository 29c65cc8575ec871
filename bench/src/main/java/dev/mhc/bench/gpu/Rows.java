// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import java.util.SplittableRandom;

/** Tensors full of random numbers, of which only the first million come from the host. */
final class Rows {
  private static final int FIRST = 1 << 20;

  private Rows() {}

  static Tensor random(Device device, DType type, long seed, long... shape) {
    Tensor tensor = device.tensor(type, shape);
    long count = tensor.elements();
    Tensor flat = tensor.reshape(count);
    long made = Math.min(count, FIRST);
    var random = new SplittableRandom(seed);
    flat.slice(0, 0, made).copyFrom(random.doubles(made).map(x -> 2 * x - 1).toArray());
    while (made < count) {
      long more = Math.min(made, count - made);
      flat.slice(0, made, made + more).copyFrom(flat.slice(0, 0, more));
      made += more;
    }
    return tensor;
  }
}
