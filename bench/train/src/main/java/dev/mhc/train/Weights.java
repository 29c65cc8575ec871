// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import ai.djl.nn.Parameter;
import ai.djl.training.initializer.Initializer;
import java.util.SplittableRandom;

/** Parameters of the transformer, with their first values: normal, from the seed and the place alone. */
final class Weights {
  private Weights() {}

  static Parameter normal(String name, SplittableRandom random, double deviation, long... shape) {
    return Parameter.builder().setName(name).setType(Parameter.Type.OTHER).optShape(new ai.djl.ndarray.types.Shape(shape))
        .optInitializer(normal(random.nextLong(), deviation)).build();
  }

  private static Initializer normal(long seed, double deviation) {
    return (manager, shape, type) -> {
      var random = new SplittableRandom(seed);
      var values = new float[Math.toIntExact(shape.size())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (random.nextGaussian() * deviation);
      }
      return manager.create(values, shape);
    };
  }
}
