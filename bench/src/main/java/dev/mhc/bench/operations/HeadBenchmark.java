// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Head;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/** From n streams to one: weighted by what they hold, and the mean; with their backwards. */
public class HeadBenchmark extends OperationBenchmark {
  private Head.Weights weights;
  private Head.Weights gradients;
  private Tensor mix;
  private Tensor invRms;
  private Tensor[] x;
  private Tensor[] y;
  private Tensor[] dY;
  private Tensor[] dX;

  @Override
  protected void make() {
    rotate((2.0 * streams + 2) * width, dtype);
    long columns = (long) streams * width;
    weights = new Head.Weights(input(DType.FP32, 1 / Math.sqrt(columns), streams, columns),
        output(DType.FP32, 1).fill(1), input(DType.FP32, 1, streams));
    gradients = new Head.Weights(output(DType.FP32, streams, columns), output(DType.FP32, 1),
        output(DType.FP32, streams));
    mix = output(DType.FP32, tokens, streams);
    invRms = output(DType.FP32, tokens);
    x = inputs(dtype, tokens, streams, width);
    y = outputs(dtype, tokens, width);
    dY = inputs(dtype, tokens, width);
    dX = outputs(dtype, tokens, streams, width);
  }

  @Override
  protected void check() {
    double[] projection = weights.projection().toDoubles();
    double[] bias = weights.bias().toDoubles();
    weighted(0);
    weightedBackward(0);
    Check.written("y", y[0]);
    Check.written("dX", dX[0]);
    for (int token : Check.tokens(tokens)) {
      double[] at = token(x[0], token);
      Check.rounded("y of token " + token, dtype, token(y[0], token), weighted(at, projection, bias));
      Check.gradient("the backward of token " + token, moved -> weighted(moved, projection, bias), at,
          token(dY[0], token), token(dX[0], token), Check.rounding(dtype));
    }
    Check.poison(y[0]);
    Check.poison(dX[0]);
    Head.mean(x[0], y[0]);
    Head.meanBackward(dY[0], dX[0], Accumulate.NONE);
    var equal = new double[streams];
    Arrays.fill(equal, 1.0 / streams);
    for (int token : Check.tokens(tokens)) {
      Check.rounded("mean of token " + token, dtype, token(y[0], token), Reference.pre(token(x[0], token), equal));
      Check.gradient("the mean's backward of token " + token, moved -> Reference.pre(moved, equal), token(x[0], token),
          token(dY[0], token), token(dX[0], token), Check.rounding(dtype));
    }
    weighted(0); // mix and invRms again
  }

  private double[] weighted(double[] at, double[] projection, double[] bias) {
    double[] w = Reference.mix(projection, at, streams);
    for (int i = 0; i < w.length; i++) {
      w[i] = Reference.sigmoid(w[i] + bias[i]);
    }
    return Reference.pre(at, w);
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    return switch (method) {
      case "weighted" -> rows(n, 1, n * n + 2 * n);
      case "weightedBackward" -> rows(n + 1, n, 2 * n * n + 4 * n);
      case "mean" -> rows(n, 1, n);
      default -> rows(1, n, n);
    };
  }

  private void weighted(int i) {
    Head.weighted(config, weights, x[i], y[i], mix, invRms);
  }

  private void weightedBackward(int i) {
    Head.weightedBackward(config, weights, x[i], mix, invRms, dY[i], dX[i], gradients, Accumulate.NONE);
  }

  /** Weighted. */
  @Benchmark
  public void weighted() {
    weighted(turn());
  }

  /** Backward, with the values that a forward saved on some rows. */
  @Benchmark
  public void weightedBackward() {
    weightedBackward(turn());
  }

  /** Mean. */
  @Benchmark
  public void mean() {
    int i = turn();
    Head.mean(x[i], y[i]);
  }

  /** Its backward. */
  @Benchmark
  public void meanBackward() {
    int i = turn();
    Head.meanBackward(dY[i], dX[i], Accumulate.NONE);
  }
}
