// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.mhc.bench.Rows;
import dev.mhc.bench.Text;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** The backward of the demo's own parts, by differences. */
class LayerFunctionTest {
  private static final int TOKENS = 7;
  private static final int WIDTH = 16;
  private static final double STEP = 1e-2;

  @Test
  void layerFunction() {
    var function = new LayerFunction(WIDTH, 5);
    var random = new SplittableRandom(6);
    float[] y = Rows.normal(TOKENS * WIDTH, random, 1);
    float[] dF = Rows.normal(y.length, random, 1);
    var dY = new float[y.length];
    function.backward(y, dF, dY);
    for (int i = 0; i < y.length; i++) {
      double slope = (objective(function, y, dF, i, STEP) - objective(function, y, dF, i, -STEP)) / (2 * STEP);
      assertThat((double) dY[i]).as("at " + i).isCloseTo(slope, within(2e-3 * (1 + Math.abs(slope))));
    }
  }

  private static double objective(LayerFunction function, float[] y, float[] dF, int at, double step) {
    float[] moved = y.clone();
    moved[at] += (float) step;
    var f = new float[y.length];
    function.forward(moved, f);
    double sum = 0;
    for (int i = 0; i < f.length; i++) {
      sum += (double) f[i] * dF[i];
    }
    return sum;
  }

  @Test
  void nextByte() {
    var random = new SplittableRandom(7);
    var text = new Text("test", "eight by".getBytes(java.nio.charset.StandardCharsets.US_ASCII));
    float[] table = Rows.normal(NextByte.VALUES * WIDTH, random, 1);
    float[] z = Rows.normal(TOKENS * WIDTH, random, 1);
    var dZ = new float[z.length];
    NextByte.loss(z, table, text, dZ);
    for (int i = 0; i < z.length; i++) {
      float[] up = z.clone();
      float[] down = z.clone();
      up[i] += (float) STEP;
      down[i] -= (float) STEP;
      double slope = (NextByte.loss(up, table, text, new float[z.length])
          - NextByte.loss(down, table, text, new float[z.length])) / (2 * STEP);
      assertThat((double) dZ[i]).as("at " + i).isCloseTo(slope, within(2e-3 * (0.1 + Math.abs(slope))));
    }
  }
}
