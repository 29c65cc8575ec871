// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import ai.djl.training.initializer.Initializer;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.Parameters;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.Supplier;

/**
 * What a layer's parameters are before training. While the streams are alike, as they are at first, the layer is a plain
 * residual, whatever the mode: the entries of preMix add up to 1, those of postMix are 1, and resMix is nearly the
 * identity. One stream counts most in preMix, another one in each layer, for only then do the streams become different.
 */
final class InitialValues {
  private static final double OTHER = 0.1; // part of all streams but one in preMix, together 0.3 for 4 streams
  private static final double MOST = 0.4; // that they have at most, where streams are many
  private static final double IDENTITY = 4; // logits of the diagonal above the others: 0.95 of each row for 4 streams
  private static final double IDENTITY_LITE = 6; // of the identity above each other permutation: 0.95 of the weights

  private InitialValues() {}

  /** Independent normal values of variance 1 / (n C), so that mix has variance 1. */
  static Initializer projection(long seed) {
    return (manager, shape, type) -> {
      var random = new SplittableRandom(seed);
      double deviation = 1 / Math.sqrt(shape.get(1));
      var values = new float[Math.toIntExact(shape.size())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (random.nextGaussian() * deviation);
      }
      return manager.create(values, shape);
    };
  }

  static Initializer scale() {
    return of(() -> new float[] {Parameters.INITIAL_SCALE, Parameters.INITIAL_SCALE, Parameters.INITIAL_SCALE});
  }

  static Initializer bias(HyperConnectionConfig config, int layer) {
    return of(() -> biases(config, layer));
  }

  static Initializer ones() {
    return (manager, shape, type) -> manager.ones(shape);
  }

  private static Initializer of(Supplier<float[]> values) {
    return (manager, shape, type) -> manager.create(values.get(), shape);
  }

  private static float[] biases(HyperConnectionConfig config, int layer) {
    int n = config.streams();
    var bias = new float[config.mixCount()];
    double other = n == 1 ? 0 : Math.min(OTHER, MOST / (n - 1));
    for (int i = 0; i < n; i++) {
      double pre = i == layer % n ? 1 - (n - 1) * other : other;
      bias[i] = (float) (config.mode() == Mode.HC ? pre : logit(Math.min(pre, 0.999)));
      bias[n + i] = config.mode() == Mode.HC ? 1 : (float) logit(1 / Math.max(config.postMultiplier(), 1.001));
    }
    switch (config.mode()) {
      case HC -> diagonal(bias, n, 1);
      case MHC -> diagonal(bias, n, IDENTITY);
      case MHC_LITE -> bias[2 * n] = (float) IDENTITY_LITE; // the identity comes first
      case RESIDUAL -> throw new AssertionError("no bias");
    }
    return bias;
  }

  private static void diagonal(float[] bias, int n, double value) {
    Arrays.fill(bias, 2 * n, bias.length, 0);
    for (int i = 0; i < n; i++) {
      bias[2 * n + i * n + i] = (float) value;
    }
  }

  private static double logit(double part) {
    return Math.log(part / (1 - part));
  }
}
