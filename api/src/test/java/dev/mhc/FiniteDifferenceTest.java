// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.HyperConnectionConfig.Preset;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The backward of a stack of two layers against differences of its forward, in random directions of every input. */
class FiniteDifferenceTest {
  private static final int T = 3;
  private static final int N = 3;
  private static final int C = 5;
  private static final float STEP = 0x1p-7f;

  @ParameterizedTest
  @EnumSource
  void stack(Preset preset) {
    long seed = System.nanoTime();
    var random = new SplittableRandom(seed);
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1)); Stack stack = new Stack(device, preset, random)) {
      stack.forward();
      stack.backward();
      for (Variable variable : stack.variables()) {
        double[] start = variable.value.toDoubles();
        double[] direction = normal(random, start.length);
        double slope = 0;
        double[] gradient = variable.gradient.toDoubles();
        double length = 0;
        for (int i = 0; i < start.length; i++) {
          slope += gradient[i] * direction[i];
          length += gradient[i] * gradient[i];
        }
        double[] loss = new double[5];
        for (int i = -2; i <= 2; i++) {
          variable.value.copyFrom(moved(start, direction, i * STEP));
          loss[i + 2] = stack.forward();
        }
        variable.value.copyFrom(start);
        double measured = (8 * (loss[3] - loss[1]) - (loss[4] - loss[0])) / (12 * STEP);
        assertThat(slope).as("%s of %s, seed %d", variable.name, preset, seed)
            .isCloseTo(measured, org.assertj.core.api.Assertions.within(2e-3 * Math.max(1, Math.sqrt(length))));
      }
    }
  }

  private record Variable(String name, Tensor value, Tensor gradient) {}

  private static final class Stack implements AutoCloseable {
    private final Parameters[] parameters = new Parameters[2];
    private final Gradients[] gradients = new Gradients[2];
    private final HyperConnection[] layers = new HyperConnection[2];
    private final Tensor[] x = new Tensor[3];
    private final Tensor[] f = new Tensor[2];
    private final Tensor[] h = new Tensor[2];
    private final Tensor[] dF = new Tensor[2];
    private final Tensor[] dH = new Tensor[2]; // cotangents: the loss is their product with the outputs
    private final Tensor dOut;
    private final Tensor dX;

    Stack(Device device, Preset preset, SplittableRandom random) {
      HyperConnectionConfig config = preset.config(N);
      int m = config.mixCount();
      for (int l = 0; l < 2; l++) {
        parameters[l] = Parameters.of(device.tensor(DType.FP32, m, N * C).copyFrom(normal(random, m * N * C)),
            device.tensor(DType.FP32, 3).copyFrom(0.3, 0.4, 0.2), device.tensor(DType.FP32, m).copyFrom(normal(random, m)));
        gradients[l] = Gradients.like(parameters[l]);
        layers[l] = HyperConnection.create(device, config, parameters[l]);
        f[l] = device.tensor(DType.FP32, T, C).copyFrom(normal(random, T * C));
        h[l] = device.tensor(DType.FP32, T, C);
        dF[l] = device.tensor(DType.FP32, T, C);
        dH[l] = device.tensor(DType.FP32, T, C).copyFrom(normal(random, T * C));
      }
      for (int l = 0; l < 3; l++) {
        x[l] = device.tensor(DType.FP32, T, N, C).copyFrom(normal(random, T * N * C));
      }
      dOut = device.tensor(DType.FP32, T, N, C).copyFrom(normal(random, T * N * C));
      dX = device.tensor(DType.FP32, T, N, C);
    }

    Variable[] variables() {
      return new Variable[] {new Variable("x", x[0], dX), new Variable("f[0]", f[0], dF[0]),
        new Variable("f[1]", f[1], dF[1]),
        new Variable("projection[0]", parameters[0].projection(), gradients[0].projection()),
        new Variable("scale[0]", parameters[0].scale(), gradients[0].scale()),
        new Variable("bias[0]", parameters[0].bias(), gradients[0].bias()),
        new Variable("projection[1]", parameters[1].projection(), gradients[1].projection()),
        new Variable("scale[1]", parameters[1].scale(), gradients[1].scale()),
        new Variable("bias[1]", parameters[1].bias(), gradients[1].bias())};
    }

    double forward() {
      layers[0].pre(x[0], h[0]);
      layers[0].boundary(x[0], f[0], layers[1], x[1], h[1]);
      layers[1].post(x[1], f[1], x[2]);
      return product(h[0], dH[0]) + product(h[1], dH[1]) + product(x[2], dOut);
    }

    void backward() {
      layers[1].postBackward(x[1], f[1], dOut, dX, dF[1]);
      layers[0].boundaryBackward(x[0], f[0], layers[1], dH[1], dX, dX, dF[0], gradients[1]);
      layers[0].preBackward(x[0], dH[0], dX, dX, gradients[0]);
    }

    @Override
    public void close() {
      for (int l = 0; l < 2; l++) {
        layers[l].close();
        parameters[l].close();
        gradients[l].close();
      }
    }
  }

  private static double product(Tensor a, Tensor b) {
    double[] as = a.toDoubles();
    double[] bs = b.toDoubles();
    double sum = 0;
    for (int i = 0; i < as.length; i++) {
      sum += as[i] * bs[i];
    }
    return sum;
  }

  private static double[] moved(double[] start, double[] direction, double by) {
    double[] moved = start.clone();
    for (int i = 0; i < moved.length; i++) {
      moved[i] += direction[i] * by;
    }
    return moved;
  }

  private static double[] normal(SplittableRandom random, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }
}
