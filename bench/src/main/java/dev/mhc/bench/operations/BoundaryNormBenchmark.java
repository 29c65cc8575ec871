// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.CpuTier;
import dev.mhc.DType;
import dev.mhc.LayerInput;
import dev.mhc.LayerInputGradient;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/** The boundary that makes the RMSNorm of h instead of h, and its backward; beside them a boundary and an RMSNorm apart. */
public class BoundaryNormBenchmark extends OperationBenchmark {
  static final float EPS = 1e-6f;

  private BoundaryCase boundary;
  private Tensor weight;
  private Tensor dWeight;
  private Tensor[] y;
  private Tensor[] dH;
  private LayerInput[] inputs;
  private LayerInputGradient[] gradients;

  @Override
  protected void make() {
    boundary = own(new BoundaryCase(on, config, dtype, tokens, width, rotated()));
    weight = input(DType.FP32, 1, width);
    dWeight = output(DType.FP32, width);
    y = new Tensor[boundary.sets()];
    dH = new Tensor[y.length];
    inputs = new LayerInput[y.length];
    gradients = new LayerInputGradient[y.length];
    for (int i = 0; i < y.length; i++) {
      BoundaryCase.Set set = boundary.rotate();
      y[set.index()] = output(dtype, tokens, width);
      dH[set.index()] = output(dtype, tokens, width);
      inputs[set.index()] = LayerInput.normalized(weight, EPS, y[set.index()]);
      gradients[set.index()] = new LayerInputGradient(set.dH(), weight, EPS, dWeight); // what is dH elsewhere is dY here
    }
    if (on.tier() == CpuTier.COUNTING) {
      boundary.afterEach(operation -> ended());
    }
  }

  private void forward(BoundaryCase.Set set) {
    boundary.current().boundary(set.x(), set.f(), boundary.next(), set.xNext(), inputs[set.index()]);
  }

  private void forwardApart(BoundaryCase.Set set) {
    boundary.boundary(set);
    RmsNorm.forward(set.h(), weight, EPS, y[set.index()], null);
    ended();
  }

  private void backward(BoundaryCase.Set set) {
    boundary.current().boundaryBackward(set.x(), set.f(), boundary.next(), gradients[set.index()], set.dXNext(), set.dX(),
        set.dF(), boundary.gradients(), Accumulate.NONE);
  }

  private void backwardApart(BoundaryCase.Set set) {
    Tensor made = dH[set.index()];
    RmsNorm.backward(set.h(), weight, EPS, set.dH(), made, dWeight, Accumulate.NONE);
    ended();
    boundary.current().boundaryBackward(set.x(), set.f(), boundary.next(), made, set.dXNext(), set.dX(), set.dF(),
        boundary.gradients());
    ended();
  }

  @Override
  protected void check() {
    BoundaryCheck.forward(boundary);
    BoundaryCase.Set set = boundary.first();
    forwardApart(set);
    double[] apart = y[0].toDoubles();
    Check.poison(y[0]);
    Check.poison(set.xNext());
    forward(set);
    Check.written("y", y[0]);
    Check.written("xNext", set.xNext());
    if (!Arrays.equals(y[0].toDoubles(), apart)) {
      throw new IllegalStateException("y differs from the RMSNorm of the boundary's h");
    }
    double[] w = weight.toDoubles();
    for (int token : Check.tokens(tokens)) {
      Check.rounded("y of token " + token, dtype, token(y[0], token), Reference.rmsNorm(token(set.h(), token), w, EPS));
    }
    BoundaryCheck.backward(boundary, this::backward, h -> Reference.rmsNorm(h, w, EPS));
    Check.normGradient("dWeight", set.h(), EPS, set.dH(), dWeight);
    Check.poison(dWeight);
    BoundaryCheck.backward(boundary, this::backwardApart, h -> Reference.rmsNorm(h, w, EPS));
    Check.normGradient("dWeight", set.h(), EPS, set.dH(), dWeight);
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double forward = BoundaryBenchmark.forwardAdds(n) + 2;
    double backward = BoundaryBenchmark.backwardAdds(n) + 5;
    return switch (method) {
      case "forward" -> rows(n + 1, n + 1, forward);
      case "forwardApart" -> rows(n + 2, n + 2, forward);
      case "backward" -> rows(2 * n + 2, n + 1, backward);
      default -> rows(2 * n + 4, n + 2, backward);
    };
  }

  /** One pass. */
  @Benchmark
  public void forward() {
    forward(boundary.rotate());
  }

  /** The boundary, then RMSNorm. */
  @Benchmark
  public void forwardApart() {
    forwardApart(boundary.rotate());
  }

  /** One pass; the values that a forward saved on the first rows serve for all. */
  @Benchmark
  public void backward() {
    backward(boundary.rotate());
  }

  /** RMSNorm's backward, then the boundary's. */
  @Benchmark
  public void backwardApart() {
    backwardApart(boundary.rotate());
  }
}
