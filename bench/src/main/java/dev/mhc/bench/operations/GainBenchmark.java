// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.DType;
import dev.mhc.Gain;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import org.openjdk.jmh.annotations.Benchmark;

/** Forward and backward gain of each of {@value #LAYERS} layers and of their running product, without contractions. */
public class GainBenchmark extends OperationBenchmark {
  private static final int LAYERS = 16;

  private Tensor resMix;
  private Gain gain;

  @Override
  protected void make() {
    resMix = input(DType.FP32, 0.5, LAYERS, tokens, streams, streams);
    gain = new Gain(made(), made(), null, made(), made(), null);
  }

  private Tensor made() {
    return output(DType.FP32, LAYERS, tokens);
  }

  @Override
  protected void check() {
    measure();
    for (int token : Check.tokens(tokens)) {
      var product = new double[streams][streams];
      for (int i = 0; i < streams; i++) {
        product[i][i] = 1;
      }
      for (int l = 0; l < LAYERS; l++) {
        double[][] layer = matrix(l, token);
        product = times(layer, product);
        close("forward", gain.forward().get(l, token), rows(layer));
        close("backward", gain.backward().get(l, token), rows(transposed(layer)));
        close("compositeForward", gain.compositeForward().get(l, token), rows(product));
        close("compositeBackward", gain.compositeBackward().get(l, token), rows(transposed(product)));
      }
    }
  }

  private static void close(String what, double got, double expected) {
    Check.close(what, new double[] {got}, new double[] {expected}, 1e-6, 1e-9);
  }

  private double[][] matrix(int layer, int token) {
    var m = new double[streams][streams];
    for (int o = 0; o < streams; o++) {
      for (int i = 0; i < streams; i++) {
        m[o][i] = resMix.get(layer, token, o, i);
      }
    }
    return m;
  }

  private static double[][] times(double[][] a, double[][] b) {
    var product = new double[a.length][a.length];
    double[][] columns = transposed(b);
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < a.length; j++) {
        product[i][j] = Check.dot(a[i], columns[j]);
      }
    }
    return product;
  }

  private static double[][] transposed(double[][] m) {
    var t = new double[m.length][m.length];
    for (int i = 0; i < m.length; i++) {
      for (int j = 0; j < m.length; j++) {
        t[j][i] = m[i][j];
      }
    }
    return t;
  }

  /** Amax: the largest |row sum|. */
  private static double rows(double[][] m) {
    double largest = 0;
    for (double[] row : m) {
      double sum = 0;
      for (double value : row) {
        sum += value;
      }
      largest = Math.max(largest, Math.abs(sum));
    }
    return largest;
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    return values(LAYERS * n * n, LAYERS * 4, LAYERS * (n * n * n + 4 * n * n));
  }

  /** All layers. */
  @Benchmark
  public void measure() {
    Gain.measure(config.orientation(), resMix, gain);
  }
}
