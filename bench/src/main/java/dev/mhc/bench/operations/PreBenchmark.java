// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Operations;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import org.openjdk.jmh.annotations.Benchmark;

/** The input of F as a weighted sum of the streams, and its backward. */
public class PreBenchmark extends OperationBenchmark {
  private Tensor preMix;
  private Tensor dPreMix;
  private Tensor[] x;
  private Tensor[] h;
  private Tensor[] dH;
  private Tensor[] dX;

  @Override
  protected void make() {
    rotate((2.0 * streams + 2) * width, dtype);
    preMix = input(DType.FP32, 1, tokens, streams);
    dPreMix = output(DType.FP32, tokens, streams);
    x = inputs(dtype, tokens, streams, width);
    h = outputs(dtype, tokens, width);
    dH = inputs(dtype, tokens, width);
    dX = outputs(dtype, tokens, streams, width);
  }

  @Override
  protected void check() {
    Operations.pre(x[0], preMix, h[0]);
    Operations.preBackward(x[0], preMix, dH[0], dX[0], dPreMix, Accumulate.NONE);
    Check.written("h", h[0]);
    Check.written("dX", dX[0]);
    for (int token : Check.tokens(tokens)) {
      double[] at = token(x[0], token);
      double[] weights = token(preMix, token);
      double[] upstream = token(dH[0], token);
      Check.rounded("h of token " + token, dtype, token(h[0], token), Reference.pre(at, weights));
      Check.gradient("dX of token " + token, moved -> Reference.pre(moved, weights), at, upstream, token(dX[0], token),
          Check.rounding(dtype));
      Check.gradient("dPreMix of token " + token, moved -> Reference.pre(at, moved), weights, upstream,
          token(dPreMix, token), Check.COEFFICIENTS);
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    return method.equals("forward") ? rows(n, 1, n) : rows(n + 1, n, 2 * n);
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    int i = turn();
    Operations.pre(x[i], preMix, h[i]);
  }

  /** Backward. */
  @Benchmark
  public void backward() {
    int i = turn();
    Operations.preBackward(x[i], preMix, dH[i], dX[i], dPreMix, Accumulate.NONE);
  }
}
