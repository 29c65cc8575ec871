// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class BirkhoffTest {
  private static final int B = 9;
  private static final int N = 4;

  @Test
  void permutationsAddUpToTheMatrix() {
    long seed = System.nanoTime();
    var random = new SplittableRandom(seed);
    var config = HyperConnectionConfig.Preset.PAPER.builder(N).iterations(200).build();
    try (Device device = Device.cpu(); Birkhoff out = Birkhoff.allocate(device, B, N)) {
      double[] logits = new double[B * N * N];
      for (int i = 0; i < logits.length; i++) {
        logits[i] = random.nextGaussian();
      }
      Tensor matrix = device.tensor(DType.FP32, B, N, N);
      Sinkhorn.forward(config, device.tensor(DType.FP32, B, N, N).copyFrom(logits), matrix);
      Tensor distance = device.tensor(DType.FP32, B);
      Birkhoff.doublyStochasticDistance(matrix, distance);
      Birkhoff.decompose(matrix, out);
      for (int b = 0; b < B; b++) {
        assertThat(distance.get(b)).as("seed " + seed).isLessThan(1e-5);
        double[] sum = new double[N * N];
        double before = Double.POSITIVE_INFINITY;
        for (int k = 0; k < out.weight().dim(1); k++) {
          double weight = out.weight().get(b, k);
          assertThat(weight).as("seed " + seed).isBetween(0.0, before);
          before = weight;
          for (int i = 0; i < N; i++) {
            sum[i * N + (int) out.permutation().get(b, k, i)] += weight;
          }
        }
        double remainder = out.remainder().get(b);
        for (int i = 0; i < N * N; i++) {
          assertThat(sum[i]).as("seed " + seed).isCloseTo(matrix.get(b, i / N, i % N), within(remainder + 1e-6));
        }
        assertThat(remainder).isLessThan(1e-4);
        assertThat(out.terms().get(b)).isBetween(1.0, 10.0);
      }
    }
  }
}
