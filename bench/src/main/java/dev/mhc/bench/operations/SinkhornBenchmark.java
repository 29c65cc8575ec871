// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import static dev.mhc.bench.Check.token;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Sinkhorn;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reference;
import org.openjdk.jmh.annotations.Benchmark;

/** T matrices of n x n made doubly stochastic, and the backward of that. */
public class SinkhornBenchmark extends OperationBenchmark {
  private Tensor[] logits;
  private Tensor[] out;
  private Tensor[] dOut;
  private Tensor[] dLogits;

  @Override
  protected void make() {
    rotate(4.0 * streams * streams, DType.FP32);
    logits = inputs(DType.FP32, tokens, streams, streams);
    out = outputs(DType.FP32, tokens, streams, streams);
    dOut = inputs(DType.FP32, tokens, streams, streams);
    dLogits = outputs(DType.FP32, tokens, streams, streams);
  }

  @Override
  protected void check() {
    Sinkhorn.forward(config, logits[0], out[0]);
    Sinkhorn.backward(config, logits[0], dOut[0], dLogits[0], Accumulate.NONE);
    for (int token : Check.tokens(tokens)) {
      double[] at = token(logits[0], token);
      Check.close("matrix " + token, token(out[0], token), Reference.sinkhorn(at), Check.COEFFICIENTS, 1e-6);
      Check.gradient("the backward of matrix " + token, Reference::sinkhorn, at, token(dOut[0], token),
          token(dLogits[0], token), Check.COEFFICIENTS);
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double alternations = 2.0 * Preset.PAPER.config(streams).iterations() * n * n;
    return method.equals("forward") ? values(n * n, n * n, alternations) : values(2 * n * n, n * n, 3 * alternations);
  }

  /** Forward. */
  @Benchmark
  public void forward() {
    int i = turn();
    Sinkhorn.forward(config, logits[i], out[i]);
  }

  /** Backward. */
  @Benchmark
  public void backward() {
    int i = turn();
    Sinkhorn.backward(config, logits[i], dOut[i], dLogits[i], Accumulate.NONE);
  }
}
