// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.Coefficients;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import org.openjdk.jmh.annotations.Benchmark;

/** A layer's coefficients from its residual, and their backward. */
public class CoefficientsBenchmark extends OperationBenchmark {
  private HyperConnection layer;
  private Gradients gradients;
  private Tensor[] x;
  private Tensor[] dX;

  @Override
  protected void make() {
    rotate(2.0 * streams * width, dtype);
    layer = own(HyperConnection.create(on, config, parameters(), tokens));
    gradients = own(Gradients.like(layer.parameters()));
    x = inputs(dtype, tokens, streams, width);
    dX = outputs(dtype, tokens, streams, width);
    layer.coefficients(x[0]);
    receive();
  }

  private Coefficients receive() {
    Coefficients received = layer.coefficientGradients();
    received.preMix().fill(1);
    received.postMix().fill(0.5);
    received.resMix().fill(-0.25);
    received.resMix().set(1, 0, 0, 0);
    return received;
  }

  @Override
  protected void check() {
    Coefficients made = layer.coefficients(x[0]);
    Coefficients received = receive();
    layer.coefficientsBackward(x[0], dX[0], gradients, Accumulate.NONE);
    Check.written("dX", dX[0]);
    var reference = new Reference(layer.parameters(), streams);
    for (int token : Check.tokens(tokens)) {
      double[] at = token(x[0], token);
      BoundaryCheck.coefficients(token, made, reference.coefficients(at));
      Check.gradient("the backward of token " + token, moved -> {
        Reference.Mixes mixes = reference.coefficients(moved);
        return Check.join(mixes.pre(), mixes.post(), mixes.res());
      }, at, Check.join(token(received.preMix(), token), token(received.postMix(), token),
          token(received.resMix(), token)), token(dX[0], token), Check.rounding(dtype));
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double m = n * n + 2 * n;
    return method.equals("forward") ? rows(n, 0, m * n + n) : rows(n, n, 2 * m * n + n);
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    layer.coefficients(x[turn()]);
  }

  /** Backward, with the values that a forward saved on some rows. */
  @Benchmark
  public void backward() {
    int i = turn();
    layer.coefficientsBackward(x[i], dX[i], gradients, Accumulate.NONE);
  }
}
