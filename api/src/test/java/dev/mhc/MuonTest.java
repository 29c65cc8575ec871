// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import dev.mhc.MuonConfig.Preset;
import dev.mhc.MuonConfig.Scaling;
import dev.mhc.MuonConfig.Step;
import dev.mhc.examples.MuonStep;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Muon against a plain double-precision rendering of its formulas, and by what an orthogonal matrix is. */
class MuonTest {
  private static Device device;
  private final long seed = new Random().nextLong();
  private final Random random = new Random(seed);

  @BeforeAll
  static void open() {
    device = TestDevice.open();
  }

  @AfterAll
  static void close() {
    if (device != null) { // else there is nothing to run on
      device.close();
    }
  }

  /** A GPU multiplies in TF32: 11 bits where float32 has 24. */
  private static double off(double onCpu) {
    return TestDevice.isGpu(device) ? Math.max(0.05, onCpu) : onCpu;
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "1, 9", "9, 1", "8, 8", "5, 17", "33, 12", "64, 200"})
  void presetsAreTheirFormulas(int rows, int columns) {
    for (Preset preset : Preset.values()) {
      double[] matrix = gaussian(rows * columns);
      double[] actual = orthogonalize(preset.config(), matrix, rows, columns);
      double[] expected = newtonSchulz(preset.config(), floats(matrix), rows, columns);
      for (int i = 0; i < actual.length; i++) {
        // small singular values of a square matrix are inflated, with their errors: by 3.4445 a step at most
        Products.assertClose(actual[i], expected[i], rows == columns ? off(1e-2) * (TestDevice.isGpu(device) ? 10 : 1) : off(2e-5),
            preset + ", seed " + seed);
      }
    }
  }

  /** |x^T O| is between the least and the largest singular value for every unit vector x. */
  @ParameterizedTest
  @EnumSource(Preset.class)
  void singularValuesAreAboutOne(Preset preset) {
    int rows = 40;
    int columns = 160; // of a Gaussian matrix: singular values within a factor of 3
    double[] result = orthogonalize(preset.config(), gaussian(rows * columns), rows, columns);
    double[] gram = gram(result, rows, columns);
    double off = 0;
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < rows; j++) {
        off += Math.pow(gram[i * rows + j] - (i == j ? 1 : 0), 2);
      }
    }
    // KELLER_JORDAN's singular values lie between 0.68 and 1.14, DEEPSEEK_V4's last steps converge
    double each = preset == Preset.KELLER_JORDAN ? 0.54 : 0.01;
    assertThat(Math.sqrt(off)).as("seed %d", seed).isLessThan(each * Math.sqrt(rows));
  }

  @Test
  void aTransposedMatrixGivesTheTransposedResult() {
    double[] matrix = gaussian(12 * 30);
    double[] turned = transpose(matrix, 12, 30);
    MuonConfig config = Preset.DEEPSEEK_V4.config();
    double[] transposed = transpose(orthogonalize(config, turned, 30, 12), 30, 12);
    double[] result = orthogonalize(config, matrix, 12, 30);
    for (int i = 0; i < result.length; i++) { // a CPU iterates the transpose; a GPU adds squares up in another order
      Products.assertClose(transposed[i], result[i], TestDevice.isCuda() ? off(2e-5) : 0, "seed " + seed);
    }
  }

  @Test
  void aMatrixOfABatchIsAsAlone() {
    int rows = 6;
    int columns = 10;
    double[][] alone = new double[3][];
    Tensor batch = device.tensor(DType.FP32, 3, rows, columns);
    for (int i = 0; i < 3; i++) {
      double[] matrix = i == 1 ? new double[rows * columns] : gaussian(rows * columns);
      if (i == 2) {
        matrix[7] = Double.NaN;
      }
      alone[i] = orthogonalize(Preset.KELLER_JORDAN.config(), matrix, rows, columns);
      batch.slice(0, i, i + 1).copyFrom(matrix);
    }
    try (Muon muon = Muon.create(device, Preset.KELLER_JORDAN.config(), 3, rows, columns)) {
      muon.orthogonalize(batch, batch);
    }
    for (int i = 0; i < 3; i++) {
      double[] inBatch = batch.slice(0, i, i + 1).toDoubles();
      if (TestDevice.isGpu(device)) { // another algorithm may be best for a batch
        for (int at = 0; at < inBatch.length; at++) {
          assertThat(Double.isNaN(inBatch[at])).isEqualTo(Double.isNaN(alone[i][at]));
          Products.assertClose(Double.isNaN(inBatch[at]) ? 0 : inBatch[at], Double.isNaN(alone[i][at]) ? 0 : alone[i][at], off(0),
              "seed " + seed);
        }
        continue;
      }
      assertThat(inBatch).containsExactly(alone[i]);
    }
    assertThat(alone[1]).containsOnly(0);
    assertThat(alone[2]).containsOnly(Double.NaN);
    assertThat(alone[0]).doesNotContain(Double.NaN);
  }

  @ParameterizedTest
  @CsvSource({"KELLER_JORDAN, 24, 10, FP32", "KELLER_JORDAN, 24, 10, BF16", "DEEPSEEK_V4, 10, 24, FP32", "DEEPSEEK_V4, 24, 10, FP16"})
  void stepsAreTheirFormulas(Preset preset, int rows, int columns, DType type) {
    for (boolean nesterov : new boolean[] {true, false}) {
      MuonConfig config = preset.config().withMomentum(0.9f, nesterov).withWeightDecay(0.25f);
      Tensor parameter = device.tensor(type, rows, columns).copyFrom(gaussian(rows * columns));
      Tensor momentum = device.tensor(DType.FP32, rows, columns);
      double[] expectedParameter = parameter.toDoubles();
      double[] expectedMomentum = new double[rows * columns];
      try (Muon muon = Muon.create(device, config, rows, columns)) {
        for (int step = 0; step < 3; step++) {
          Tensor gradient = device.tensor(type, rows, columns).copyFrom(gaussian(rows * columns));
          muon.step(parameter, gradient, momentum, 0.125f);
          step(config, expectedParameter, gradient.toDoubles(), expectedMomentum, rows, columns, 0.125);
          for (int i = 0; i < rows * columns; i++) {
            Products.assertClose(momentum.toDoubles()[i], expectedMomentum[i], 1e-5, "momentum, seed " + seed);
            double tolerance = 2e-4 + Products.rounding(type) * Math.abs(expectedParameter[i]) * 1.01;
            Products.assertClose(parameter.toDoubles()[i], expectedParameter[i], off(tolerance), config + ", seed " + seed);
          }
          expectedParameter = parameter.toDoubles();
        }
      }
    }
  }

  @Test
  void publishedCoefficients() {
    MuonConfig jordan = Preset.KELLER_JORDAN.config();
    Step quintic = new Step(3.4445f, -4.7750f, 2.0315f);
    Step converging = new Step(2, -1.5f, 0.5f);
    assertThat(jordan).isEqualTo(new MuonConfig(Collections.nCopies(5, quintic), 0.95f, true, Scaling.ASPECT, 0.2f, 0, 1e-7f));
    var steps = new ArrayList<>(Collections.nCopies(8, quintic));
    steps.addAll(Collections.nCopies(2, converging));
    assertThat(Preset.DEEPSEEK_V4.config()).isEqualTo(new MuonConfig(steps, 0.95f, true, Scaling.RMS, 0.18f, 0.1f, 1e-7f));
  }

  /** Parameters and gradients of different types, a batch, and each size of an update. */
  @ParameterizedTest
  @CsvSource({"NONE, FP32, BF16", "NONE, BF16, FP32", "ASPECT, FP16, FP32", "RMS, BF16, FP16"})
  void stepsOfABatch(Scaling scaling, DType parameterType, DType gradientType) {
    int rows = 18;
    int columns = 8;
    MuonConfig config = Preset.KELLER_JORDAN.config().withScaling(scaling, 0.3f).withWeightDecay(0.125f);
    Tensor parameter = device.tensor(parameterType, 3, rows, columns).copyFrom(gaussian(3 * rows * columns));
    Tensor gradient = device.tensor(gradientType, 3, rows, columns).copyFrom(gaussian(3 * rows * columns));
    Tensor momentum = device.tensor(DType.FP32, 3, rows, columns).copyFrom(gaussian(3 * rows * columns));
    double[] before = parameter.toDoubles();
    double[] slope = gradient.toDoubles();
    double[] kept = momentum.toDoubles();
    try (Muon muon = Muon.create(device, config, 3, rows, columns)) {
      assertThat(muon.config()).isSameAs(config);
      muon.step(parameter, gradient, momentum, 0.25f);
    }
    double[] actual = parameter.toDoubles();
    for (int i = 0; i < 3; i++) {
      int from = i * rows * columns;
      int to = from + rows * columns;
      double[] expected = Arrays.copyOfRange(before, from, to);
      double[] expectedMomentum = Arrays.copyOfRange(kept, from, to);
      step(config, expected, Arrays.copyOfRange(slope, from, to), expectedMomentum, rows, columns, 0.25);
      for (int at = 0; at < expected.length; at++) {
        double tolerance = 2e-4 + 1.01 * Products.rounding(parameterType) * Math.abs(expected[at]);
        Products.assertClose(actual[from + at], expected[at], off(tolerance), config + ", seed " + seed);
        Products.assertClose(momentum.toDoubles()[from + at], expectedMomentum[at], 1e-5, "momentum, seed " + seed);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"BF16, FP32", "FP16, BF16", "FP32, FP16", "BF16, BF16"})
  void orthogonalizesFromAndToEveryType(DType from, DType to) {
    int rows = 6;
    int columns = 20;
    Tensor matrix = device.tensor(from, rows, columns).copyFrom(gaussian(rows * columns));
    Tensor result = device.tensor(to, rows, columns);
    try (Muon muon = Muon.create(device, Preset.DEEPSEEK_V4.config(), rows, columns)) {
      muon.orthogonalize(matrix, result);
    }
    double[] expected = newtonSchulz(Preset.DEEPSEEK_V4.config(), matrix.toDoubles(), rows, columns);
    double[] actual = result.toDoubles();
    for (int i = 0; i < expected.length; i++) {
      Products.assertClose(actual[i], expected[i], off(2e-5) + 1.01 * Products.rounding(to) * Math.abs(expected[i]), "seed " + seed);
    }
  }

  /** An eps as small as is allowed: zeros stay, and small numbers are orthogonal all the same. */
  @Test
  void theLeastEps() {
    MuonConfig good = Preset.DEEPSEEK_V4.config();
    MuonConfig least = new MuonConfig(good.steps(), good.momentum(), good.nesterov(), good.scaling(), good.rms(), good.weightDecay(), 1e-12f);
    assertThat(orthogonalize(least, new double[64 * 200], 64, 200)).containsOnly(0);
    double[] small = gaussian(5 * 20);
    double[] once = orthogonalize(least, small, 5, 20);
    double[] scaled = orthogonalize(least, Arrays.stream(floats(small)).map(x -> x * 0x1p-20).toArray(), 5, 20);
    for (int i = 0; i < once.length; i++) {
      Products.assertClose(scaled[i], once[i], off(1e-4), "seed " + seed);
    }
    for (float eps : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY, 1e-13f}) {
      refused(() -> new MuonConfig(good.steps(), 0, true, good.scaling(), 1, 0, eps), "eps is " + eps + "; expected ");
    }
  }

  @Test
  void rmsOfAnUpdate() {
    MuonConfig config = Preset.DEEPSEEK_V4.config().withWeightDecay(0);
    for (int[] shape : new int[][] {{16, 64}, {64, 16}}) {
      Tensor parameter = device.tensor(DType.FP32, shape[0], shape[1]);
      Tensor gradient = device.tensor(DType.FP32, shape[0], shape[1]).copyFrom(gaussian(1024));
      MuonStep.train(device, parameter, gradient, 1); // learning rate 0.02
      double rms = Math.sqrt(Arrays.stream(parameter.toDoubles()).map(x -> x * x).average().orElseThrow());
      assertThat(rms / 0.02).isCloseTo(config.rms(), within(0.01));
    }
  }

  @Test
  void wrongArguments() {
    MuonConfig good = Preset.KELLER_JORDAN.config();
    refused(() -> good.withSteps(List.of()), "steps is empty");
    refused(() -> new Step(Float.NaN, 0, 0), "a is NaN");
    refused(() -> good.withMomentum(1, true), "momentum is 1.0; expected less than 1");
    refused(() -> good.withScaling(Scaling.RMS, 0), "rms is 0.0; expected a finite number above 0");
    refused(() -> good.withWeightDecay(-1), "weightDecay is -1.0");
    refused(() -> Muon.create(device, good, 0, 3), "rows is 0; expected 1 to 2147483647");
    refused(() -> Muon.create(device, good, -1, 2, 3), "batch is -1");
    refused(() -> Muon.create(device, null, 2, 3), "config is null");
    Tensor x = device.tensor(DType.FP32, 2, 3).fill(7);
    Tensor y = device.tensor(DType.FP32, 2, 3);
    Tensor z = device.tensor(DType.FP32, 2, 3);
    Muon muon = Muon.create(device, good, 2, 3);
    refused(() -> muon.orthogonalize(null, x), "matrix is null; expected a tensor [rows, columns]");
    refused(() -> muon.orthogonalize(x.reshape(3, 2), x), "matrix is [3, 2] FP32; expected shape [rows, columns] = [2, 3]");
    refused(() -> muon.orthogonalize(device.tensor(DType.INT32, 2, 3), x), "matrix is [2, 3] INT32");
    refused(() -> muon.orthogonalize(device.tensor(DType.FP32, 2, 6).slice(1, 0, 3), x), "expected row-major elements");
    refused(() -> muon.step(x, y, device.tensor(DType.BF16, 2, 3), 1), "momentum is [2, 3] BF16; expected FP32");
    refused(() -> muon.step(x, x, z, 1), "parameter is [2, 3] FP32, in memory that gradient");
    refused(() -> muon.step(x, y, y, 1), "momentum is [2, 3] FP32, in memory that gradient");
    refused(() -> muon.step(x, y, z, -1), "learningRate is -1.0");
    assertThat(x.toDoubles()).containsOnly(7);
    muon.close();
    muon.close();
    assertThatIllegalStateException().isThrownBy(() -> muon.orthogonalize(x, x)).withMessage("the Muon is closed");
  }

  private double[] orthogonalize(MuonConfig config, double[] matrix, int rows, int columns) {
    try (Muon muon = Muon.create(device, config, rows, columns);
        Tensor x = device.tensor(DType.FP32, rows, columns).copyFrom(matrix);
        Tensor result = device.tensor(DType.FP32, rows, columns)) {
      muon.orthogonalize(x, result);
      return result.toDoubles();
    }
  }

  // ------------------------------------------------------------------------------------------------ the formulas

  private static void step(MuonConfig config, double[] parameter, double[] gradient, double[] momentum, int rows,
      int columns, double rate) {
    double[] update = new double[gradient.length];
    for (int i = 0; i < update.length; i++) {
      momentum[i] = config.momentum() * momentum[i] + gradient[i];
      update[i] = config.nesterov() ? gradient[i] + config.momentum() * momentum[i] : momentum[i];
    }
    double[] x = newtonSchulz(config, update, rows, columns);
    double scale = switch (config.scaling()) {
      case NONE -> 1;
      case ASPECT -> rows > columns ? Math.sqrt((double) rows / columns) : 1;
      case RMS -> config.rms() * Math.sqrt(Math.max(rows, columns));
    };
    for (int i = 0; i < x.length; i++) {
      parameter[i] = parameter[i] - rate * config.weightDecay() * parameter[i] - rate * scale * x[i];
    }
  }

  /** As written, on the matrix as it is, whatever its shape. */
  private static double[] newtonSchulz(MuonConfig config, double[] matrix, int rows, int columns) {
    double norm = Math.sqrt(Arrays.stream(matrix).map(x -> x * x).sum()) + config.eps();
    double[] x = Arrays.stream(matrix).map(v -> v / norm).toArray();
    for (Step step : config.steps()) {
      double[] gram = gram(x, rows, columns);
      double[] square = multiply(gram, gram, rows, rows, rows);
      double[] polynomial = new double[gram.length];
      for (int i = 0; i < gram.length; i++) {
        polynomial[i] = step.b() * gram[i] + step.c() * square[i];
      }
      double[] change = multiply(polynomial, x, rows, rows, columns);
      for (int i = 0; i < x.length; i++) {
        x[i] = step.a() * x[i] + change[i];
      }
    }
    return x;
  }

  private static double[] gram(double[] x, int rows, int columns) {
    return multiply(x, transpose(x, rows, columns), rows, columns, rows);
  }

  private static double[] multiply(double[] a, double[] b, int m, int k, int n) {
    double[] product = new double[m * n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        for (int l = 0; l < k; l++) {
          product[i * n + j] += a[i * k + l] * b[l * n + j];
        }
      }
    }
    return product;
  }

  private static double[] transpose(double[] x, int rows, int columns) {
    double[] result = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      result[i % columns * rows + i / columns] = x[i];
    }
    return result;
  }

  private double[] gaussian(int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextGaussian();
    }
    return values;
  }

  private static double[] floats(double[] values) {
    return Arrays.stream(values).map(x -> (float) x).toArray();
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
