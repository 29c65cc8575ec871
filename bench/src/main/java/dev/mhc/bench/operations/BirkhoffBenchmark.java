// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Birkhoff;
import dev.mhc.DType;
import dev.mhc.Sinkhorn;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import org.openjdk.jmh.annotations.Benchmark;

/** The permutations in T doubly stochastic matrices of n x n, and how far such matrices are from doubly stochastic. */
public class BirkhoffBenchmark extends OperationBenchmark {
  private Tensor matrix;
  private Tensor distance;
  private Birkhoff parts;

  @Override
  protected void make() {
    Tensor logits = input(DType.FP32, 1, tokens, streams, streams);
    matrix = output(DType.FP32, tokens, streams, streams);
    Sinkhorn.forward(config, logits, matrix);
    distance = output(DType.FP32, tokens);
    parts = own(Birkhoff.allocate(on, tokens, streams));
    Check.poison(parts.weight());
    Check.poison(parts.permutation());
  }

  @Override
  protected void check() {
    decompose();
    doublyStochasticDistance();
    Check.written("weight", parts.weight());
    Check.written("permutation", parts.permutation());
    int n = streams;
    for (int token : Check.tokens(tokens)) {
      double[] weights = token(parts.weight(), token);
      var sum = new double[n * n];
      for (int k = 0; k < weights.length; k++) {
        for (int i = 0; i < n; i++) {
          sum[i * n + (int) parts.permutation().get(token, k, i)] += weights[k];
        }
      }
      double[] given = token(matrix, token);
      Check.close("the sum of the permutations of matrix " + token, sum, given, 0, 1e-5);
      Check.close("the distance of matrix " + token, token(distance, token), new double[] {distance(given)}, 0, 1e-6);
    }
  }

  private double distance(double[] m) {
    double largest = 0;
    for (int i = 0; i < streams; i++) {
      double row = 0;
      double column = 0;
      for (int j = 0; j < streams; j++) {
        row += m[i * streams + j];
        column += m[j * streams + i];
        largest = Math.max(largest, -m[i * streams + j]);
      }
      largest = Math.max(largest, Math.max(Math.abs(row - 1), Math.abs(column - 1)));
    }
    return largest;
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double terms = (n - 1) * (n - 1) + 1;
    return method.equals("decompose") ? values(n * n, terms + terms * n + 2, 0) : values(n * n, 1, 2 * n * n);
  }

  /** Decomposes. */
  @Benchmark
  public void decompose() {
    Birkhoff.decompose(matrix, parts);
  }

  /** Measures the distance. */
  @Benchmark
  public void doublyStochasticDistance() {
    Birkhoff.doublyStochasticDistance(matrix, distance);
  }
}
