// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * All that a stack of layers does outside of F, as a training step does it: the entry, the boundaries, the last post, and their
 * backward. Each layer has parameters and rows of its own; every residual is kept for the backward, none is recomputed.
 */
public class StackBenchmark extends OperationBenchmark {
  /** Layers. */
  @Param("4")
  public int layers = 4;

  private final List<HyperConnection> stack = new ArrayList<>();
  private final List<Gradients> gradients = new ArrayList<>();
  private Tensor[][] x; // by layer and set; one more than there are layers
  private Tensor[][] f;
  private Tensor[][] h;
  private Tensor[][] dH;
  private Tensor[][] dF;
  private Tensor[] arriving;
  private Tensor[] dX;

  @Override
  public void set(Map<String, String> values) {
    super.set(values);
    layers = Integer.parseInt(values.getOrDefault("layers", String.valueOf(layers)));
  }

  @Override
  protected void make() {
    rotate((layers * (streams + 4.0) + 3 * streams) * width, dtype);
    for (int l = 0; l < layers; l++) {
      stack.add(own(HyperConnection.create(on, config, parameters(1 + l), tokens)));
      gradients.add(own(Gradients.like(stack.get(l).parameters())));
    }
    x = new Tensor[layers + 1][];
    f = new Tensor[layers][];
    h = new Tensor[layers][];
    dH = new Tensor[layers][];
    dF = new Tensor[layers][];
    x[0] = inputs(dtype, tokens, streams, width);
    for (int l = 0; l < layers; l++) {
      x[l + 1] = outputs(dtype, tokens, streams, width);
      f[l] = inputs(dtype, tokens, width);
      h[l] = outputs(dtype, tokens, width);
      dH[l] = inputs(dtype, tokens, width);
      dF[l] = outputs(dtype, tokens, width);
    }
    arriving = inputs(dtype, tokens, streams, width);
    dX = outputs(dtype, tokens, streams, width);
  }

  private void forward(int i) {
    stack.getFirst().pre(x[0][i], h[0][i]);
    ended();
    for (int l = 0; l + 1 < layers; l++) {
      stack.get(l).boundary(x[l][i], f[l][i], stack.get(l + 1), x[l + 1][i], h[l + 1][i]);
      ended();
    }
    stack.getLast().post(x[layers - 1][i], f[layers - 1][i], x[layers][i]);
    ended();
  }

  private void backward(int i) {
    int last = layers - 1;
    stack.get(last).postBackward(x[last][i], f[last][i], arriving[i], dX[i], dF[last][i]);
    ended();
    for (int l = last - 1; l >= 0; l--) {
      stack.get(l).boundaryBackward(x[l][i], f[l][i], stack.get(l + 1), dH[l + 1][i], dX[i], dX[i], dF[l][i],
          gradients.get(l + 1));
      ended();
    }
    stack.getFirst().preBackward(x[0][i], dH[0][i], dX[i], dX[i], gradients.getFirst());
    ended();
  }

  @Override
  protected void check() {
    forward(0);
    backward(0);
    Check.written("dX", dX[0]);
    for (int l = 0; l < layers; l++) {
      Check.written("x of layer " + (l + 1), x[l + 1][0]);
      Check.written("h of layer " + l, h[l][0]);
      Check.written("dF of layer " + l, dF[l][0]);
    }
    for (int token : Check.tokens(tokens)) {
      checkForward(token);
      checkBackward(token);
    }
  }

  /** Layer by layer, each from what the one before it stored. */
  private void checkForward(int token) {
    for (int l = 0; l < layers; l++) {
      double[] stored = token(x[l][0], token);
      Reference.Mixes mixes = new Reference(stack.get(l).parameters(), streams).coefficients(stored);
      BoundaryCheck.coefficients(token, stack.get(l).coefficients(), mixes);
      Check.rounded("h of layer " + l, dtype, token(h[l][0], token), Reference.pre(stored, mixes.pre()));
      Check.rounded("x of layer " + (l + 1), dtype, token(x[l + 1][0], token),
          Reference.post(stored, token(f[l][0], token), mixes.post(), mixes.res()));
    }
  }

  /** All layers at once, without a rounding between them. */
  private void checkBackward(int token) {
    var at = new double[layers + 1][];
    var upstream = new double[layers + 1][];
    var got = new double[layers + 1][];
    at[0] = token(x[0][0], token);
    got[0] = token(dX[0], token);
    for (int l = 0; l < layers; l++) {
      at[l + 1] = token(f[l][0], token);
      got[l + 1] = token(dF[l][0], token);
      upstream[l] = token(dH[l][0], token);
    }
    upstream[layers] = token(arriving[0], token);
    Check.gradient("the backward of token " + token, this::inDoublePrecision, Check.join(at), Check.join(upstream),
        Check.join(got), Check.rounding(dtype) * Math.sqrt(layers));
  }

  /** From x of the first layer and every f to every h and x behind the last. */
  private double[] inDoublePrecision(double[] from) {
    var made = new double[layers + 1][];
    double[] residual = Arrays.copyOf(from, streams * width);
    for (int l = 0; l < layers; l++) {
      Reference.Mixes mixes = new Reference(stack.get(l).parameters(), streams).coefficients(residual);
      int start = (streams + l) * width;
      made[l] = Reference.pre(residual, mixes.pre());
      residual = Reference.post(residual, Arrays.copyOfRange(from, start, start + width), mixes.post(), mixes.res());
    }
    made[layers] = residual;
    return Check.join(made);
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double m = n * n + 2 * n;
    double boundaries = layers - 1;
    Cost forward = rows(n + boundaries * (n + 1) + n + 1, 1 + boundaries * (n + 1) + n,
        layers * BoundaryBenchmark.forwardAdds(n));
    if (method.equals("forward")) {
      return forward;
    }
    Cost backward = rows(2 * n + 1 + boundaries * (2 * n + 2) + 2 * n + 1, n + 1 + boundaries * (n + 1) + n,
        2 * n * (n + 1) + boundaries * BoundaryBenchmark.backwardAdds(n) + 2 * m * n + 3 * n);
    return new Cost(forward.rowsRead() + backward.rowsRead(), forward.rowsWritten() + backward.rowsWritten(), 0, 0,
        forward.multiplyAdds() + backward.multiplyAdds());
  }

  /** The forward of all layers. */
  @Benchmark
  public void forward() {
    forward(turn());
  }

  /** Forward and backward of all layers. */
  @Benchmark
  public void forwardAndBackward() {
    int i = turn();
    forward(i);
    backward(i);
  }
}
