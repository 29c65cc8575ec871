// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.HyperConnection;
import dev.mhc.Parameters;
import dev.mhc.Recompute;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import java.util.ArrayList;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;

/**
 * A block of {@value #LAYERS} layers rebuilt from the residual that enters it and the stored outputs of F: the input of F
 * of each. Beside it the same by as many boundaries, which are checked against the plain rendering; both give the same bits.
 */
public class RecomputeBenchmark extends OperationBenchmark {
  private static final int LAYERS = 5;

  private final ArrayList<HyperConnection> layers = new ArrayList<>();
  private Recompute recompute;
  private Tensor[] x;
  private Tensor[][] f;
  private Tensor[][] h;
  private Tensor residual;

  @Override
  protected void make() {
    rotate((streams + 2.0 * LAYERS) * width, dtype);
    Parameters parameters = parameters();
    for (int l = 0; l < LAYERS; l++) {
      layers.add(own(HyperConnection.create(on, config, parameters, tokens)));
    }
    recompute = Recompute.of(layers);
    x = inputs(dtype, tokens, streams, width);
    f = new Tensor[x.length][LAYERS];
    h = new Tensor[x.length][LAYERS];
    for (int l = 0; l < LAYERS; l++) {
      Tensor[] stored = l + 1 < LAYERS ? inputs(dtype, tokens, width) : null;
      Tensor[] made = outputs(dtype, tokens, width);
      for (int i = 0; i < x.length; i++) {
        f[i][l] = stored == null ? null : stored[i]; // nothing behind the last layer's F is rebuilt
        h[i][l] = made[i];
      }
    }
    residual = output(dtype, tokens, streams, width);
  }

  @Override
  protected void check() {
    boundaries(0);
    var expected = new double[LAYERS][];
    for (int l = 0; l < LAYERS; l++) {
      expected[l] = h[0][l].toDoubles();
      Check.poison(h[0][l]);
    }
    recompute(0);
    for (int l = 0; l < LAYERS; l++) {
      Check.written("h", h[0][l]);
      if (!Arrays.equals(h[0][l].toDoubles(), expected[l])) {
        throw new IllegalStateException("h of layer " + l + " differs from that of the boundaries");
      }
    }
  }

  private void recompute(int i) {
    recompute.run(x[i], null, f[i], null, h[i], null);
  }

  private void boundaries(int i) {
    layers.get(0).pre(x[i], h[i][0]);
    ended();
    for (int l = 0; l + 1 < LAYERS; l++) {
      layers.get(l).boundary(l == 0 ? x[i] : residual, f[i][l], layers.get(l + 1), residual, h[i][l + 1]);
      ended();
    }
  }

  @Override
  public Cost cost(String method) {
    double n = streams;
    double m = n * n + 2 * n;
    double adds = LAYERS * (m * n + 2 * n) + (LAYERS - 1) * n * (n + 1);
    double boundaries = LAYERS - 1;
    return method.equals("recompute") ? rows(n + boundaries, LAYERS, adds)
        : rows(n + boundaries * (n + 1), 1 + boundaries * (n + 1), adds);
  }

  /** One operation. */
  @Benchmark
  public void recompute() {
    recompute(turn());
  }

  /** An entry and four boundaries. */
  @Benchmark
  public void boundaries() {
    boundaries(turn());
  }
}
