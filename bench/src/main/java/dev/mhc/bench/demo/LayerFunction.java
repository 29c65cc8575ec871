// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.bench.Rows;
import java.util.SplittableRandom;

/**
 * The demo's F, in plain Java, in place of attention and feed-forward: cheap, causal, and with an exact backward. Each
 * channel keeps a memory of what came before, which a gate lets through:
 *
 * <pre>
 *   m[t] = keep m[t-1] + sqrt(1 - keep^2) y[t]        a running mean over earlier tokens
 *   f[t] = weight m[t] sigmoid(gate y[t])             y is the RMSNorm of h
 * </pre>
 *
 * keep, weight and gate are random, one of each for a channel.
 */
final class LayerFunction {
  private final int width;
  private final float[] keep;
  private final float[] take;
  private final float[] weight;
  private final float[] gate;

  LayerFunction(int width, long seed) {
    this.width = width;
    var random = new SplittableRandom(seed);
    keep = new float[width];
    take = new float[width];
    for (int c = 0; c < width; c++) {
      keep[c] = (float) random.nextDouble(0.3, 0.95);
      take[c] = (float) Math.sqrt(1 - keep[c] * keep[c]);
    }
    weight = Rows.normal(width, random, 1);
    gate = Rows.normal(width, random, 1);
  }

  /**
   * Forward.
   *
   * @param y {@code [T, C]}
   * @param f {@code [T, C]}, written
   */
  void forward(float[] y, float[] f) {
    var memory = new float[width];
    for (int at = 0; at < y.length; at += width) {
      for (int c = 0; c < width; c++) {
        memory[c] = keep[c] * memory[c] + take[c] * y[at + c];
        f[at + c] = weight[c] * memory[c] * sigmoid(gate[c] * y[at + c]);
      }
    }
  }

  /**
   * Backward.
   *
   * @param y as in the forward
   * @param dF {@code [T, C]}
   * @param dY {@code [T, C]}, written
   */
  void backward(float[] y, float[] dF, float[] dY) {
    float[] memories = memories(y);
    var dMemory = new float[width]; // what reaches m[t] from later tokens
    for (int at = y.length - width; at >= 0; at -= width) {
      for (int c = 0; c < width; c++) {
        float open = sigmoid(gate[c] * y[at + c]);
        float weighted = weight[c] * dF[at + c];
        float dM = dMemory[c] + weighted * open;
        dMemory[c] = keep[c] * dM;
        dY[at + c] = take[c] * dM + weighted * memories[at + c] * gate[c] * open * (1 - open);
      }
    }
  }

  private float[] memories(float[] y) {
    var memories = new float[y.length];
    for (int i = 0; i < y.length; i++) {
      int c = i % width;
      memories[i] = (i < width ? 0 : keep[c] * memories[i - width]) + take[c] * y[i];
    }
    return memories;
  }

  private static float sigmoid(float v) {
    return (float) (1 / (1 + Math.exp(-v)));
  }
}
