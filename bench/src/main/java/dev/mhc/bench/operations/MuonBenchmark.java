// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.operations;

import dev.mhc.DType;
import dev.mhc.Muon;
import dev.mhc.MuonConfig;
import dev.mhc.Tensor;
import dev.mhc.bench.Check;
import dev.mhc.bench.Cost;
import dev.mhc.bench.Reflected;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Warmup;

/** A step of Muon for a T x C matrix, in Keller Jordan's conventions: five Newton-Schulz steps of three products each. */
@Warmup(iterations = 4, time = 500, timeUnit = TimeUnit.MILLISECONDS) // conversions in Java, which have to be compiled
public class MuonBenchmark extends OperationBenchmark {
  private static final MuonConfig CONFIG = MuonConfig.Preset.KELLER_JORDAN.config();
  private static final float LEARNING_RATE = 1e-3f;

  private Muon muon;
  private Tensor[] parameter;
  private Tensor[] gradient;
  private Tensor[] momentum;

  @Override
  protected void make() {
    rotate((2.0 + (double) DType.FP32.bytes() / dtype.bytes()) * width, dtype);
    muon = own(Muon.create(on, CONFIG, tokens, width));
    parameter = inputs(dtype, tokens, width);
    gradient = inputs(dtype, tokens, width);
    momentum = inputs(DType.FP32, tokens, width);
  }

  /** On a matrix whose singular vectors and values are known, so that its orthogonalised form is too. */
  @Override
  protected void check() {
    var matrix = new Reflected(tokens, width, new SplittableRandom(5));
    double norm = matrix.norm() + CONFIG.eps();
    Reflected expected = matrix.with(value -> orthogonalized(value / norm));
    double factor = CONFIG.momentum();
    float[] before = gradient[0].toFloats(); // the momentum that, after this gradient, makes the update that matrix
    for (int row = 0, at = 0; row < tokens; row++) {
      double[] wanted = matrix.row(row);
      for (int column = 0; column < width; column++, at++) {
        before[at] = (float) ((wanted[column] - (1 + factor) * before[at]) / (factor * factor));
      }
    }
    momentum[0].copyFrom(before);
    double[] start = parameter[0].toDoubles();
    muon.step(parameter[0], gradient[0], momentum[0], 1);
    double scale = Math.sqrt(Math.max(1.0, (double) tokens / width));
    for (int row : Check.tokens(tokens)) {
      double[] moved = expected.row(row);
      double[] velocity = Check.token(gradient[0], row);
      for (int column = 0; column < width; column++) {
        moved[column] = start[row * width + column] - scale * moved[column];
        velocity[column] += factor * before[row * width + column];
      }
      Check.close("parameter, row " + row, Check.token(parameter[0], row), moved, 1.1 * Check.rounding(dtype), 1e-4);
      Check.close("momentum, row " + row, Check.token(momentum[0], row), velocity, 1e-6, 1e-6);
    }
  }

  private static double orthogonalized(double value) {
    double s = value;
    for (MuonConfig.Step step : CONFIG.steps()) {
      double square = s * s;
      s *= step.a() + square * (step.b() + square * step.c());
    }
    return s;
  }

  @Override
  public Cost cost(String method) {
    double side = Math.min(tokens, width);
    double elements = (double) tokens * width;
    double step = 2 * side * elements + side * side * side; // X X^T, its square, and their sum times X
    return Cost.matrices((2 * dtype.bytes() + 4) * elements, (dtype.bytes() + 4) * elements, CONFIG.steps().size() * step);
  }

  /** Momentum, Newton-Schulz, update. */
  @Benchmark
  public void step() {
    int i = turn();
    muon.step(parameter[i], gradient[i], momentum[i], LEARNING_RATE);
  }
}
