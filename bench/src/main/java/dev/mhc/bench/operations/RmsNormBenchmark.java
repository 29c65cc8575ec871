// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import org.openjdk.jmh.annotations.Benchmark;

/** RMSNorm with a weight, and its backward. */
public class RmsNormBenchmark extends OperationBenchmark {
  private static final float EPS = 1e-6f;

  private Tensor weight;
  private Tensor dWeight;
  private Tensor[] x;
  private Tensor[] y;
  private Tensor[] dY;
  private Tensor[] dX;

  @Override
  protected void make() {
    rotate(4.0 * width, dtype);
    weight = input(DType.FP32, 1, width);
    dWeight = output(DType.FP32, width);
    x = inputs(dtype, tokens, width);
    y = outputs(dtype, tokens, width);
    dY = inputs(dtype, tokens, width);
    dX = outputs(dtype, tokens, width);
  }

  @Override
  protected void check() {
    RmsNorm.forward(x[0], weight, EPS, y[0], null);
    RmsNorm.backward(x[0], weight, EPS, dY[0], dX[0], dWeight, Accumulate.NONE);
    Check.written("y", y[0]);
    Check.written("dX", dX[0]);
    Check.normGradient("dWeight", x[0], EPS, dY[0], dWeight);
    double[] w = weight.toDoubles();
    for (int token : Check.tokens(tokens)) {
      double[] at = token(x[0], token);
      Check.rounded("y of token " + token, dtype, token(y[0], token), Reference.rmsNorm(at, w, EPS));
      Check.gradient("the backward of token " + token, moved -> Reference.rmsNorm(moved, w, EPS), at, token(dY[0], token),
          token(dX[0], token), Check.rounding(dtype));
    }
  }

  @Override
  public Cost cost(String method) {
    return method.equals("forward") ? rows(1, 1, 2) : rows(2, 1, 5);
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    int i = turn();
    RmsNorm.forward(x[i], weight, EPS, y[i], null);
  }

  /** Backward. */
  @Benchmark
  public void backward() {
    int i = turn();
    RmsNorm.backward(x[i], weight, EPS, dY[i], dX[i], dWeight, Accumulate.NONE);
  }
}
