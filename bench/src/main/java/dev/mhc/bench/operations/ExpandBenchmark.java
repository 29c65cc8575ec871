// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.Expand;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/** From the embedding to n equal streams, and the sum of their gradients. */
public class ExpandBenchmark extends OperationBenchmark {
  private Tensor[] embedding;
  private Tensor[] x;
  private Tensor[] dX;
  private Tensor[] dEmbedding;

  @Override
  protected void make() {
    rotate((2.0 * streams + 2) * width, dtype);
    embedding = inputs(dtype, tokens, width);
    x = outputs(dtype, tokens, streams, width);
    dX = inputs(dtype, tokens, streams, width);
    dEmbedding = outputs(dtype, tokens, width);
  }

  @Override
  protected void check() {
    Expand.forward(embedding[0], x[0]);
    Expand.backward(dX[0], dEmbedding[0], Accumulate.NONE);
    Check.written("x", x[0]);
    Check.written("dEmbedding", dEmbedding[0]);
    var ones = new double[streams];
    Arrays.fill(ones, 1);
    for (int token : Check.tokens(tokens)) {
      double[] given = token(embedding[0], token);
      double[] made = token(x[0], token);
      for (int i = 0; i < streams; i++) {
        Check.close("stream " + i, Arrays.copyOfRange(made, i * width, (i + 1) * width), given, 0, 0);
      }
      Check.rounded("dEmbedding", dtype, token(dEmbedding[0], token), Reference.pre(token(dX[0], token), ones));
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    return method.equals("forward") ? rows(1, n, 0) : rows(n, 1, n);
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    int i = turn();
    Expand.forward(embedding[i], x[i]);
  }

  /** Backward. */
  @Benchmark
  public void backward() {
    int i = turn();
    Expand.backward(dX[i], dEmbedding[i], Accumulate.NONE);
  }
}
