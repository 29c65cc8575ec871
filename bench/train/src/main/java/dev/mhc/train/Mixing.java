// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gain;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig.Orientation;
import dev.mhc.Tensor;
import dev.mhc.djl.HyperConnectionStack;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * What the hyper-connections of a stack did in its last forward, means over tokens.
 *
 * @param resMix of each layer, {@code [out][in]}
 * @param forward Amax gain of each layer: largest |row sum|
 * @param backward likewise: largest |column sum|
 * @param compositeForward of the product of the layers up to each
 * @param compositeBackward likewise
 */
record Mixing(double[][][] resMix, double[] forward, double[] backward, double[] compositeForward,
    double[] compositeBackward) {

  static Mixing of(Device device, HyperConnectionStack stack) {
    List<HyperConnection> layers = stack.connections();
    int n = layers.get(0).config().streams();
    long tokens = layers.get(0).coefficients().tokens();
    Orientation orientation = layers.get(0).config().orientation();
    try (Tensor all = device.tensor(DType.FP32, layers.size(), tokens, n, n);
        Gain gain = Gain.allocate(device, layers.size(), tokens)) {
      for (int l = 0; l < layers.size(); l++) {
        MemorySegment from = layers.get(l).coefficients().resMix().segment();
        MemorySegment.copy(from, 0, all.segment(), l * from.byteSize(), from.byteSize());
      }
      Gain.measure(orientation, all, gain);
      return new Mixing(means(all, orientation), means(gain.forward()), means(gain.backward()),
          means(gain.compositeForward()), means(gain.compositeBackward()));
    }
  }

  private static double[] means(Tensor gains) {
    double[] values = gains.toDoubles();
    int tokens = (int) gains.dim(1);
    var means = new double[(int) gains.dim(0)];
    for (int l = 0; l < means.length; l++) {
      means[l] = Arrays.stream(values, l * tokens, (l + 1) * tokens).average().orElse(Double.NaN);
    }
    return means;
  }

  private static double[][][] means(Tensor resMix, Orientation orientation) {
    double[] values = resMix.toDoubles();
    int layers = (int) resMix.dim(0);
    int tokens = (int) resMix.dim(1);
    int n = (int) resMix.dim(2);
    var means = new double[layers][n][n];
    for (int at = 0; at < values.length; at++) {
      int first = at / n % n;
      int second = at % n;
      boolean outFirst = orientation == Orientation.OUT_IN;
      means[at / (tokens * n * n)][outFirst ? first : second][outFirst ? second : first] += values[at] / tokens;
    }
    return means;
  }

  /** The largest composite gain at any depth. */
  double largestForward() {
    return largest(compositeForward);
  }

  double largestBackward() {
    return largest(compositeBackward);
  }

  private static double largest(double[] values) {
    return Arrays.stream(values).max().orElse(Double.NaN);
  }
}
