// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Parameters;
import java.util.Arrays;

/**
 * The operations on a single token in plain double precision, in the paper's conventions (arXiv 2512.24880, Eq. 3 to 19).
 * It shares no code with the library: benchmarks check against it what they are about to time. Matrices are row by row.
 */
public final class Reference {
  private static final int ITERATIONS = 20;
  private static final double RMS_EPS = 1e-20;

  private final int n;
  private final double[] projection;
  private final double[] scale;
  private final double[] bias;

  /** The coefficients of a token. */
  public record Mixes(double[] pre, double[] post, double[] res) {}

  /** A layer with these parameters. */
  public Reference(Parameters parameters, int streams) {
    n = streams;
    projection = parameters.projection().toDoubles();
    scale = parameters.scale().toDoubles();
    bias = parameters.bias().toDoubles();
  }

  /** The layer's coefficients. */
  public Mixes coefficients(double[] x) {
    double[] mix = mix(projection, x, bias.length);
    var pre = new double[n];
    var post = new double[n];
    var logits = new double[n * n];
    for (int i = 0; i < n; i++) {
      pre[i] = sigmoid(scale[0] * mix[i] + bias[i]);
      post[i] = 2 * sigmoid(scale[1] * mix[n + i] + bias[n + i]);
    }
    for (int i = 0; i < logits.length; i++) {
      logits[i] = scale[2] * mix[2 * n + i] + bias[2 * n + i];
    }
    return new Mixes(pre, post, sinkhorn(logits));
  }

  /** {@code (x . projection^T) / r}. */
  public static double[] mix(double[] projection, double[] x, int rows) {
    double rms = rms(x, RMS_EPS);
    var mix = new double[rows];
    for (int row = 0; row < rows; row++) {
      double sum = 0;
      for (int k = 0; k < x.length; k++) {
        sum += projection[row * x.length + k] * x[k];
      }
      mix[row] = sum / rms;
    }
    return mix;
  }

  /** {@code sqrt(mean(x^2) + eps)}. */
  public static double rms(double[] x, double eps) {
    return Math.sqrt(Check.dot(x, x) / x.length + eps);
  }

  /** {@code x / rms(x, eps) weight}. */
  public static double[] rmsNorm(double[] x, double[] weight, double eps) {
    double rms = rms(x, eps);
    double[] y = x.clone();
    for (int c = 0; c < y.length; c++) {
      y[c] *= weight[c] / rms;
    }
    return y;
  }

  /** {@code x_next[o] = sum_i res[o][i] x[i] + post[o] f}. */
  public static double[] post(double[] x, double[] f, double[] post, double[] res) {
    int n = post.length;
    int width = f.length;
    var xNext = new double[x.length];
    for (int o = 0; o < n; o++) {
      for (int c = 0; c < width; c++) {
        double sum = post[o] * f[c];
        for (int i = 0; i < n; i++) {
          sum += res[o * n + i] * x[i * width + c];
        }
        xNext[o * width + c] = sum;
      }
    }
    return xNext;
  }

  /** {@code h = sum_i weights[i] x[i]}. */
  public static double[] pre(double[] x, double[] weights) {
    var h = new double[x.length / weights.length];
    for (int k = 0; k < x.length; k++) {
      h[k % h.length] += weights[k / h.length] * x[k];
    }
    return h;
  }

  /** exp, then columns and rows in turns, rows last. */
  public static double[] sinkhorn(double[] logits) {
    int k = (int) Math.round(Math.sqrt(logits.length));
    double[] m = Arrays.stream(logits).map(Math::exp).toArray();
    for (int iteration = 0; iteration < ITERATIONS; iteration++) {
      for (int i = 0; i < k; i++) {
        normalize(m, i, k, k);
      }
      for (int i = 0; i < k; i++) {
        normalize(m, i * k, 1, k);
      }
    }
    return m;
  }

  private static void normalize(double[] m, int start, int step, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += m[start + i * step];
    }
    for (int i = 0; i < count; i++) {
      m[start + i * step] /= sum;
    }
  }

  /** The logistic function. */
  public static double sigmoid(double v) {
    return 1 / (1 + Math.exp(-v));
  }
}
