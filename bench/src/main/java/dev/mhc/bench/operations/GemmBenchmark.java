// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.Gemm;
import dev.mhc.GemmConfig;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Warmup;

/** The product of a T x C and a C x C matrix, everything of one type. The weight rotates with the rows. */
@Warmup(iterations = 4, time = 500, timeUnit = TimeUnit.MILLISECONDS) // conversions in Java, which have to be compiled
public class GemmBenchmark extends OperationBenchmark {
  private Gemm gemm;
  private Tensor[] a;
  private Tensor[] b;
  private Tensor[] d;

  @Override
  protected void make() {
    rotate((2.0 + (double) width / tokens) * width, dtype);
    gemm = own(Gemm.create(on, GemmConfig.of(dtype, tokens, width, width)));
    a = inputs(dtype, tokens, width);
    b = inputs(dtype, width, width);
    d = outputs(dtype, tokens, width);
  }

  @Override
  protected void check() {
    gemm.run(a[0], b[0], d[0]);
    Check.written("d", d[0]);
    double[] right = b[0].toDoubles();
    for (int row : Check.tokens(tokens)) {
      Check.product("d, row " + row, dtype, Check.token(a[0], row), right, Check.token(d[0], row));
    }
  }

  @Override
  public Cost cost(String method) {
    double rows = (double) tokens * width;
    return Cost.matrices((rows + (double) width * width) * dtype.bytes(), rows * dtype.bytes(), rows * width);
  }

  /** The product. */
  @Benchmark
  public void run() {
    int i = turn();
    gemm.run(a[i], b[i], d[i]);
  }
}
