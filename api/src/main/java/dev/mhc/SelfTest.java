// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.SplittableRandom;

/** A small boundary through the library, compared with the formulas written down in double precision. */
final class SelfTest {
  private static final int T = 3;
  private static final int N = 4;
  private static final int C = 37;
  private static final double TOLERANCE = 1e-5;

  private SelfTest() {}

  /** The largest error relative to the largest value; throws what the library throws. */
  static double run(Device device) {
    HyperConnectionConfig config = HyperConnectionConfig.Preset.PAPER.config(N);
    var random = new SplittableRandom(1);
    int m = config.mixCount();
    double[] x = normal(random, T * N * C, 1);
    double[] f = normal(random, T * C, 1);
    double[] projection = normal(random, m * N * C, 0.1);
    double[] bias = normal(random, m, 1);
    double[] scale = {0.5, 0.25, 0.75};
    try (Tensor xs = device.tensor(DType.FP32, T, N, C).copyFrom(x);
        Tensor fs = device.tensor(DType.FP32, T, C).copyFrom(f);
        Tensor h = device.tensor(DType.FP32, T, C);
        Tensor xNext = device.tensor(DType.FP32, T, N, C);
        Parameters parameters = Parameters.of(device.tensor(DType.FP32, m, N * C).copyFrom(projection),
            device.tensor(DType.FP32, 3).copyFrom(scale), device.tensor(DType.FP32, m).copyFrom(bias));
        HyperConnection layer = HyperConnection.create(device, config, parameters);
        HyperConnection next = HyperConnection.create(device, config, parameters)) {
      layer.pre(xs, h);
      double error = 0;
      double[][] coefficients = new double[T][];
      for (int t = 0; t < T; t++) {
        coefficients[t] = coefficients(row(x, t, N * C), projection, scale, bias);
        error = Math.max(error, distance(row(h.toDoubles(), t, C), pre(row(x, t, N * C), coefficients[t])));
      }
      layer.boundary(xs, fs, next, xNext, h);
      for (int t = 0; t < T; t++) {
        double[] expected = post(row(x, t, N * C), row(f, t, C), coefficients[t]);
        error = Math.max(error, distance(row(xNext.toDoubles(), t, N * C), expected));
        double[] following = coefficients(expected, projection, scale, bias);
        error = Math.max(error, distance(row(h.toDoubles(), t, C), pre(expected, following)));
      }
      return error;
    }
  }

  static boolean passes(double error) {
    return error <= TOLERANCE;
  }

  /** pre, post and res of one token, one after the other. */
  private static double[] coefficients(double[] x, double[] projection, double[] scale, double[] bias) {
    double squares = 0;
    for (double value : x) {
      squares += value * value;
    }
    double r = Math.sqrt(squares / x.length);
    var out = new double[bias.length];
    for (int row = 0; row < out.length; row++) {
      double mix = 0;
      for (int i = 0; i < x.length; i++) {
        mix += x[i] * projection[row * x.length + i];
      }
      int part = row < N ? 0 : row < 2 * N ? 1 : 2;
      double logit = scale[part] * mix / r + bias[row];
      out[row] = part == 2 ? Math.exp(logit) : (part + 1) / (1 + Math.exp(-logit));
    }
    for (int iteration = 0; iteration < 20; iteration++) {
      for (int step = 0; step < 2; step++) {
        for (int line = 0; line < N; line++) {
          double sum = 0;
          for (int i = 0; i < N; i++) {
            sum += out[2 * N + entry(step, line, i)];
          }
          for (int i = 0; i < N; i++) {
            out[2 * N + entry(step, line, i)] /= sum;
          }
        }
      }
    }
    return out;
  }

  /** Columns in step 0, rows in step 1. */
  private static int entry(int step, int line, int i) {
    return step == 0 ? i * N + line : line * N + i;
  }

  private static double[] pre(double[] x, double[] coefficients) {
    var h = new double[C];
    for (int i = 0; i < N * C; i++) {
      h[i % C] += coefficients[i / C] * x[i];
    }
    return h;
  }

  private static double[] post(double[] x, double[] f, double[] coefficients) {
    var next = new double[N * C];
    for (int out = 0; out < N * C; out++) {
      next[out] = coefficients[N + out / C] * f[out % C];
      for (int in = 0; in < N; in++) {
        next[out] += coefficients[2 * N + out / C * N + in] * x[in * C + out % C];
      }
    }
    return next;
  }

  private static double distance(double[] given, double[] expected) {
    double largest = 0;
    double error = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i]));
      error = Math.max(error, Math.abs(given[i] - expected[i])); // NaN stays NaN
    }
    return error / largest;
  }

  private static double[] row(double[] values, int row, int length) {
    return java.util.Arrays.copyOfRange(values, row * length, (row + 1) * length);
  }

  /** Normal values that float holds exactly. */
  private static double[] normal(SplittableRandom random, int count, double deviation) {
    return random.doubles(count).map(u -> (float) (random.nextGaussian() * deviation)).toArray();
  }
}
