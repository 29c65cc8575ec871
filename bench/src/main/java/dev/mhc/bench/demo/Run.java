// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gain;
import dev.mhc.Tensor;
import dev.mhc.bench.Rows;
import dev.mhc.bench.Text;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * One kind of hyper-connection on the text. The arrays have an entry for each layer.
 *
 * @param kind of hyper-connection
 * @param forwardGain of the product of the mixes up to each layer, mean over tokens
 * @param backwardGain likewise
 * @param residual root mean square of what enters each layer
 * @param gradient root mean square of the gradient that reaches each layer; empty if there was no backward
 * @param loss in nats a byte; NaN likewise
 * @param forwardSeconds of the whole forward, F included
 * @param backwardSeconds of the whole backward; NaN likewise
 */
record Run(Kind kind, double[] forwardGain, double[] backwardGain, double[] residual, double[] gradient, double loss,
    double forwardSeconds, double backwardSeconds) {

  /** What the kinds have in common. */
  record Input(Text text, int layers, int width, long seed) {
    int tokens() {
      return text.length() - 1; // the last byte is only to be foretold
    }

    Input first(int tokens) {
      return new Input(text.first(tokens + 1), layers, width, seed);
    }

    float[] embedding() {
      return Rows.normal(NextByte.VALUES * width, new SplittableRandom(seed), 1);
    }

    List<LayerFunction> functions() {
      var functions = new ArrayList<LayerFunction>();
      for (int l = 0; l < layers; l++) {
        functions.add(new LayerFunction(width, seed + 1000 + l));
      }
      return functions;
    }
  }

  /** Forward and, unless it is only for the gains, backward. */
  static Run of(Device device, Kind kind, Input input, double scale, boolean gainsOnly) {
    int tokens = input.tokens();
    float[] table = input.embedding();
    double[] gradient = gainsOnly ? new double[0] : new double[input.layers];
    try (var stack = new Stack(device, kind, input.functions(), tokens, input.width, scale, input.seed + 2000);
        Tensor embedded = embed(device, table, input);
        Tensor dEmbedded = device.tensor(DType.BF16, tokens, input.width)) {
      long start = System.nanoTime();
      stack.forward(embedded);
      double forwardSeconds = (System.nanoTime() - start) * 1e-9;
      double loss = Double.NaN;
      double backwardSeconds = Double.NaN;
      if (!gainsOnly) {
        loss = stack.loss(table, input.text);
        start = System.nanoTime();
        stack.backward(dEmbedded, gradient);
        backwardSeconds = (System.nanoTime() - start) * 1e-9;
      }
      try (Tensor mixes = stack.resMixes(); Gain gain = Gain.allocate(device, input.layers, tokens)) {
        Gain.measure(kind.config.orientation(), mixes, gain);
        return new Run(kind, means(gain.compositeForward()), means(gain.compositeBackward()), stack.residualRms(),
            gradient, loss, forwardSeconds, backwardSeconds);
      }
    }
  }

  private static Tensor embed(Device device, float[] table, Input input) {
    int width = input.width;
    var values = new float[input.tokens() * width];
    for (int t = 0; t < input.tokens(); t++) {
      System.arraycopy(table, input.text.at(t) * width, values, t * width, width);
    }
    Tensor embedded = device.tensor(DType.BF16, input.tokens(), width);
    Rows.write(embedded, values);
    return embedded;
  }

  /** Of each row of [L, T]. */
  private static double[] means(Tensor tensor) {
    float[] values = Rows.read(tensor);
    int layers = (int) tensor.dim(0);
    int tokens = (int) tensor.dim(1);
    var means = new double[layers];
    for (int l = 0; l < layers; l++) {
      for (int t = 0; t < tokens; t++) {
        means[l] += values[l * tokens + t] / (double) tokens;
      }
    }
    return means;
  }

  /** The forward gain behind the last layer. */
  double finalForwardGain() {
    return forwardGain[forwardGain.length - 1];
  }

  /** The backward gain behind the last layer. */
  double finalBackwardGain() {
    return backwardGain[backwardGain.length - 1];
  }
}
