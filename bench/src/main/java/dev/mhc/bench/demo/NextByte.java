// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.bench.Text;

/**
 * The demo's loss: the mean cross-entropy of the next byte, in nats. Logits are scalar products with the embeddings:
 * {@code logit[t][v] = <z[t], embedding[v]> / sqrt(C)}.
 */
final class NextByte {
  static final int VALUES = 256;

  private NextByte() {}

  /**
   * The loss and its gradient.
   *
   * @param z {@code [T, C]}
   * @param embedding {@code [256, C]}
   * @param text of T + 1 bytes or more
   * @param dZ {@code [T, C]}, written
   */
  static double loss(float[] z, float[] embedding, Text text, float[] dZ) {
    int width = embedding.length / VALUES;
    int tokens = z.length / width;
    float scale = (float) (1 / Math.sqrt(width));
    var logits = new double[VALUES];
    double total = 0;
    for (int t = 0; t < tokens; t++) {
      for (int v = 0; v < VALUES; v++) {
        float sum = 0;
        for (int c = 0; c < width; c++) {
          sum += z[t * width + c] * embedding[v * width + c];
        }
        logits[v] = sum * scale;
      }
      int right = text.at(t + 1);
      total -= Math.log(softmax(logits, right));
      for (int v = 0; v < VALUES; v++) {
        float d = (float) (logits[v] - (v == right ? 1 : 0)) * scale / tokens;
        for (int c = 0; c < width; c++) {
          dZ[t * width + c] += d * embedding[v * width + c];
        }
      }
    }
    return total / tokens;
  }

  /** Makes probabilities of logits; the probability of one of them. */
  private static double softmax(double[] logits, int which) {
    double most = Double.NEGATIVE_INFINITY;
    for (double logit : logits) {
      most = Math.max(most, logit);
    }
    double sum = 0;
    for (int v = 0; v < logits.length; v++) {
      logits[v] = Math.exp(logits[v] - most);
      sum += logits[v];
    }
    for (int v = 0; v < logits.length; v++) {
      logits[v] /= sum;
    }
    return logits[which];
  }
}
