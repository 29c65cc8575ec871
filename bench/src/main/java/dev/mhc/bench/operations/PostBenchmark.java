// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Operations;
import dev.mhc.Tensor;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/** The next residual from this one and F's output, and its backward. */
public class PostBenchmark extends OperationBenchmark {
  private Tensor postMix;
  private Tensor resMix;
  private Tensor dPostMix;
  private Tensor dResMix;
  private Tensor[] x;
  private Tensor[] f;
  private Tensor[] xNext;
  private Tensor[] dXNext;
  private Tensor[] dX;
  private Tensor[] dF;

  @Override
  protected void make() {
    rotate((4.0 * streams + 2) * width, dtype);
    postMix = input(DType.FP32, 1, tokens, streams);
    resMix = input(DType.FP32, 0.5, tokens, streams, streams);
    dPostMix = output(DType.FP32, tokens, streams);
    dResMix = output(DType.FP32, tokens, streams, streams);
    x = inputs(dtype, tokens, streams, width);
    f = inputs(dtype, tokens, width);
    xNext = outputs(dtype, tokens, streams, width);
    dXNext = inputs(dtype, tokens, streams, width);
    dX = outputs(dtype, tokens, streams, width);
    dF = outputs(dtype, tokens, width);
  }

  private void forward(int i) {
    Operations.post(config.orientation(), x[i], f[i], postMix, resMix, xNext[i]);
  }

  private void backward(int i) {
    Operations.postBackward(config.orientation(), x[i], f[i], postMix, resMix, dXNext[i], dX[i], dF[i], dPostMix,
        dResMix, Accumulate.NONE);
  }

  @Override
  protected void check() {
    forward(0);
    backward(0);
    BoundaryCheck.post(x[0], f[0], postMix, resMix, xNext[0]);
    BoundaryCheck.postBackward(x[0], f[0], postMix, resMix, dXNext[0], dX[0], dF[0]);
    for (int token : Check.tokens(tokens)) {
      double[] at = token(x[0], token);
      double[] layer = token(f[0], token);
      double[] post = token(postMix, token);
      double[] res = token(resMix, token);
      Check.gradient("dPostMix and dResMix of token " + token,
          moved -> Reference.post(at, layer, Arrays.copyOf(moved, post.length),
              Arrays.copyOfRange(moved, post.length, moved.length)),
          Check.join(post, res), token(dXNext[0], token), Check.join(token(dPostMix, token), token(dResMix, token)),
          Check.COEFFICIENTS);
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    return method.equals("forward") ? rows(n + 1, n, n * (n + 1)) : rows(2 * n + 1, n + 1, 2 * n * (n + 1));
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    forward(turn());
  }

  /** Backward. */
  @Benchmark
  public void backward() {
    backward(turn());
  }
}
