// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.Blas;
import dev.mhc.DType;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.calls.Sgemm;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * What {@link GemmBenchmark} has in fp32, by OpenBLAS's own function called through the bindings: what a CPU's products can
 * reach here. The rows' type is not asked for; the profiles run it with FP32 alone.
 */
public class OpenBlasBenchmark extends OperationBenchmark {
  private Sgemm[] products;

  @Override
  protected void make() {
    Blas.cpuLibrary(); // has it loaded
    rotate((2.0 + (double) width / tokens) * width, DType.FP32);
    Tensor[] a = inputs(DType.FP32, tokens, width);
    Tensor[] b = inputs(DType.FP32, width, width);
    Tensor[] d = outputs(DType.FP32, tokens, width);
    products = new Sgemm[a.length];
    for (int i = 0; i < a.length; i++) {
      products[i] = new Sgemm(a[i], b[i], d[i]);
    }
    Sgemm.threads(on.threads());
  }

  @Override
  protected void check() {
    Sgemm first = products[0];
    first.run();
    Check.written("d", first.d());
    double[] right = first.b().toDoubles();
    for (int row : Check.tokens(tokens)) {
      Check.product("d, row " + row, DType.FP32, Check.token(first.a(), row), right, Check.token(first.d(), row));
    }
  }

  @Override
  public Cost cost(String method) {
    double rows = (double) tokens * width;
    return Cost.matrices((rows + (double) width * width) * DType.FP32.bytes(), rows * DType.FP32.bytes(), rows * width);
  }

  /** cblas_sgemm. */
  @Benchmark
  public void sgemm() {
    products[turn()].run();
  }
}
