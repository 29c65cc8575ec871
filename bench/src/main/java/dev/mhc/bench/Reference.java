// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Coefficients;
import dev.mhc.Parameters;
import dev.mhc.Tensor;

/**
 * A boundary in plain double precision for a single token, in the paper's conventions (arXiv 2512.24880, Eq. 3 to 19). It
 * shares no code with the library: benchmarks check against it what they are about to time.
 */
final class Reference {
  private static final int ITERATIONS = 20;

  private final int n;
  private final int width;
  private final double[] projection;
  private final double[] scale;
  private final double[] bias;
  private final double[] postMix;
  private final double[][] resMix;

  /** What comes out. */
  record Result(double[] xNext, double[] h, double[] preMix, double[] postMix, double[][] resMix) {}

  Reference(Parameters next, Coefficients current, int token) {
    projection = next.projection().toDoubles();
    scale = next.scale().toDoubles();
    bias = next.bias().toDoubles();
    n = (int) current.preMix().dim(1);
    width = projection.length / bias.length / n;
    postMix = new double[n];
    resMix = new double[n][n];
    for (int o = 0; o < n; o++) {
      postMix[o] = current.postMix().get(token, o);
      for (int i = 0; i < n; i++) {
        resMix[o][i] = current.resMix().get(token, o, i);
      }
    }
  }

  /** A token's rows of a tensor. */
  static double[] token(Tensor tensor, int token) {
    return tensor.slice(0, token, token + 1).toDoubles();
  }

  /** The boundary; rounded: xNext to bf16 before it is used further, as the library does. */
  Result run(double[] x, double[] f, boolean rounded) {
    var xNext = new double[n * width];
    for (int o = 0; o < n; o++) {
      for (int c = 0; c < width; c++) {
        double sum = postMix[o] * f[c];
        for (int i = 0; i < n; i++) {
          sum += resMix[o][i] * x[i * width + c];
        }
        xNext[o * width + c] = rounded ? Rows.rounded(sum) : sum;
      }
    }
    double[] mix = mix(xNext);
    var pre = new double[n];
    var post = new double[n];
    var res = new double[n][n];
    for (int i = 0; i < n; i++) {
      pre[i] = sigmoid(scale[0] * mix[i] + bias[i]);
      post[i] = 2 * sigmoid(scale[1] * mix[n + i] + bias[n + i]);
      for (int j = 0; j < n; j++) {
        int at = 2 * n + i * n + j;
        res[i][j] = Math.exp(scale[2] * mix[at] + bias[at]);
      }
    }
    sinkhorn(res);
    return new Result(xNext, weighted(pre, xNext), pre, post, res);
  }

  private double[] mix(double[] x) {
    double squares = 0;
    for (double value : x) {
      squares += value * value;
    }
    double rms = Math.sqrt(squares / x.length + 1e-20);
    var mix = new double[bias.length];
    for (int row = 0; row < mix.length; row++) {
      double sum = 0;
      for (int k = 0; k < x.length; k++) {
        sum += projection[row * x.length + k] * x[k];
      }
      mix[row] = sum / rms;
    }
    return mix;
  }

  private double[] weighted(double[] weights, double[] x) {
    var h = new double[width];
    for (int i = 0; i < n; i++) {
      for (int c = 0; c < width; c++) {
        h[c] += weights[i] * x[i * width + c];
      }
    }
    return h;
  }

  /** Columns first, rows last. */
  private static void sinkhorn(double[][] m) {
    int n = m.length;
    for (int iteration = 0; iteration < ITERATIONS; iteration++) {
      for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
          sum += m[i][j];
        }
        for (int i = 0; i < n; i++) {
          m[i][j] /= sum;
        }
      }
      for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
          sum += m[i][j];
        }
        for (int j = 0; j < n; j++) {
          m[i][j] /= sum;
        }
      }
    }
  }

  private static double sigmoid(double v) {
    return 1 / (1 + Math.exp(-v));
  }
}
