// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatNoException;
import static org.assertj.core.api.Assertions.within;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Tensor;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What benchmarks are checked with tells right from wrong. */
class CheckTest {
  @Test
  void aProduct() {
    double[] left = {1, 2};
    double[] right = {3, 4, 5, 6, 7, 8};
    assertThatNoException().isThrownBy(() -> Check.product("d", DType.FP32, left, right, new double[] {15, 18, 21}));
    assertThatIllegalStateException()
        .isThrownBy(() -> Check.product("d", DType.FP32, left, right, new double[] {15, 18, 21.001}))
        .withMessageContaining("d[2] is 21.001; expected 21.0");
    assertThatIllegalStateException().isThrownBy(() -> Check.product("d", DType.BF16, left, right, new double[] {15, 18, Double.NaN}));
  }

  @Test
  void anotherTilesScale() {
    var given = new double[2 * Check.TILE];
    var got = new double[given.length];
    given[0] = 100;
    got[0] = 104; // between 96 and 104: half of 8
    assertThatNoException().isThrownBy(() -> Check.quantized("x", given, new double[] {1, 1e-3}, got));
    got[0] = 112;
    assertThatIllegalStateException().isThrownBy(() -> Check.quantized("x", given, new double[] {1, 1e-3}, got));
    got[0] = 104;
    got[Check.TILE] = 1e-4; // of zero, in the tile of the small scale
    assertThatIllegalStateException().isThrownBy(() -> Check.quantized("x", given, new double[] {1, 1e-3}, got));
  }

  @Test
  void theGradientOfANormsWeight() {
    try (Device device = Device.cpu();
        Tensor x = device.tensor(DType.FP32, 2, 2).copyFrom(3, 4, 1, 1);
        Tensor dY = device.tensor(DType.FP32, 2, 2).copyFrom(1, 2, 3, 4);
        Tensor dWeight = device.tensor(DType.FP32, 2)) {
      double rms = Math.sqrt(12.5);
      dWeight.copyFrom(3 / rms + 3, 8 / rms + 4);
      Check.normGradient("dWeight", x, 0, dY, dWeight);
      dWeight.copyFrom(3 / rms, 8 / rms); // without the second token
      assertThatIllegalStateException().isThrownBy(() -> Check.normGradient("dWeight", x, 0, dY, dWeight));
    }
  }

  /** M M^T M has the cubes of M's singular values. */
  @ParameterizedTest
  @CsvSource({"1, 1", "3, 7", "7, 3", "5, 5"})
  void aPolynomialOfAReflectedMatrix(int rows, int columns) {
    var matrix = new Reflected(rows, columns, new SplittableRandom(rows));
    double squares = 0;
    var gram = new double[rows][rows];
    for (int i = 0; i < rows; i++) {
      squares += Check.dot(matrix.row(i), matrix.row(i));
      for (int j = 0; j < rows; j++) {
        gram[i][j] = Check.dot(matrix.row(i), matrix.row(j));
      }
    }
    assertThat(matrix.norm()).isCloseTo(Math.sqrt(squares), within(1e-12));
    Reflected cubes = matrix.with(value -> value * value * value);
    for (int i = 0; i < rows; i++) {
      var expected = new double[columns];
      for (int j = 0; j < rows; j++) {
        for (int c = 0; c < columns; c++) {
          expected[c] += gram[i][j] * matrix.row(j)[c];
        }
      }
      assertThat(cubes.row(i)).containsExactly(expected, within(1e-12));
    }
  }
}
