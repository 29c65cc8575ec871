// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

/**
 * What makes a run what it is, with the text and the number of threads.
 *
 * @param kind of residual
 * @param layers of the transformer, each attention and feed-forward
 * @param width C
 * @param streams n
 * @param heads of attention
 * @param context bytes of a sequence
 * @param batch sequences of a step
 * @param steps in all; the learning rate depends on it
 * @param rate largest learning rate
 * @param optimizer of the hidden matrices
 * @param precision of streams and layer tensors in mhc
 * @param recompute whether residuals are rebuilt in the backward
 * @param seed of first values and of the order of the text
 * @param text where it is from, in words
 * @param textCheck CRC-32C of the text
 */
record Settings(Kind kind, int layers, int width, int streams, int heads, int context, int batch, int steps, double rate,
    MatrixOptimizer optimizer, Precision precision, boolean recompute, long seed, String text, long textCheck) {

  /** What updates hidden matrices; everything else has AdamW. */
  enum MatrixOptimizer {
    /** Muon with DeepSeek-V4's 8 + 2 steps. */
    MUON,
    /** Muon with Keller Jordan's 5 steps. */
    MUON_SHORT,
    ADAMW
  }

  /** Of streams and layer tensors in mhc; F computes in FP32. */
  enum Precision {
    FP32,
    BF16
  }

  /** Functions F: attention and feed-forward of each layer. */
  int functions() {
    return 2 * layers;
  }

  /** Bytes of text of a step. */
  int tokens() {
    return batch * context;
  }

  /** The learning rate of a step: up in the first 5 %, then down along a cosine to a tenth. */
  double rate(int step) {
    double warmUp = Math.max(1, 0.05 * steps);
    if (step < warmUp) {
      return rate * (step + 1) / (warmUp + 1);
    }
    double part = (step - warmUp) / Math.max(1, steps - warmUp);
    return rate * (0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI * part)));
  }

  /** The same for another kind. */
  Settings with(Kind other) {
    return new Settings(other, layers, width, streams, heads, context, batch, steps, rate, optimizer, precision, recompute,
        seed, text, textCheck);
  }

  /** The same with another depth and seed. */
  Settings with(int otherLayers, long otherSeed) {
    return new Settings(kind, otherLayers, width, streams, heads, context, batch, steps, rate, optimizer, precision,
        recompute, otherSeed, text, textCheck);
  }
}
