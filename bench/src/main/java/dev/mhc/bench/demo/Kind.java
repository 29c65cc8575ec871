// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.Parameters;
import dev.mhc.Tensor;

/**
 * The hyper-connections that the demo compares. All start where a plain residual is: preMix is about 1/n, postMix about
 * 1. The mix of the residual gets the same bias in all of them, the identity matrix, and the same scale and projection of
 * the same seed: hc takes scale tanh(mix) + bias as it is, mhc and mhc_lite send scale mix + bias onto the doubly
 * stochastic matrices.
 */
enum Kind {
  RESIDUAL("residual", Mode.RESIDUAL),
  HC("hc", Mode.HC),
  MHC("mhc", Mode.MHC),
  MHC_LITE("mhc_lite", Mode.MHC_LITE);

  static final int STREAMS = 4;

  final String label;
  final HyperConnectionConfig config;

  Kind(String label, Mode mode) {
    this.label = label;
    config = HyperConnectionConfig.builder().streams(STREAMS).mode(mode).build();
  }

  /**
   * Random parameters of one layer.
   *
   * @param scale of all three gates: 0.01 where training starts in the paper
   */
  Parameters parameters(Device device, long width, double scale, long seed) {
    Parameters made = Parameters.initialize(device, config, width, seed); // mix has variance 1
    if (made.scale() != null && made.bias() != null) {
      made.scale().fill(scale);
      bias(made.bias());
    }
    return made;
  }

  private void bias(Tensor bias) {
    int n = STREAMS;
    for (int i = 0; i < n; i++) {
      bias.set(this == HC ? 1.0 / n : -Math.log(n - 1), i); // a sigmoid makes 1/n of it
      bias.set(this == HC ? 1 : 0, n + i);
    }
    if (this == MHC_LITE) {
      fixedPoints(bias, new int[n], 0, new int[] {2 * n});
    } else {
      for (int i = 0; i < n; i++) {
        bias.set(1, 2 * n + i * n + i);
      }
    }
  }

  /** The sum of the identity's entries along each permutation, in lexicographic order. */
  private static void fixedPoints(Tensor bias, int[] permutation, int length, int[] at) {
    int n = permutation.length;
    if (length == n) {
      int fixed = 0;
      for (int i = 0; i < n; i++) {
        fixed += permutation[i] == i ? 1 : 0;
      }
      bias.set(fixed, at[0]++);
      return;
    }
    for (int value = 0; value < n; value++) {
      boolean used = false;
      for (int i = 0; i < length; i++) {
        used |= permutation[i] == value;
      }
      if (!used) {
        permutation[length] = value;
        fixedPoints(bias, permutation, length + 1, at);
      }
    }
  }

  @Override
  public String toString() {
    return label;
  }
}
