// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Gradients;
import dev.mhc.Head;
import dev.mhc.HyperConnection;
import dev.mhc.LayerInput;
import dev.mhc.LayerInputGradient;
import dev.mhc.Parameters;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import dev.mhc.bench.Rows;
import dev.mhc.bench.Text;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** A stack of layers of one kind: forward and backward, as a training step does it. */
final class Stack implements AutoCloseable {
  private static final float NORM_EPS = 1e-6f;

  final Kind kind;
  final int layers;
  private final Device device;
  private final int tokens;
  private final int width;
  private final List<LayerFunction> functions;
  private final List<HyperConnection> connections = new ArrayList<>();
  private final List<Gradients> gradients = new ArrayList<>();
  private final List<Tensor> x = new ArrayList<>(); // the residual that enters each layer, and the one that leaves
  private final List<Tensor> y = new ArrayList<>(); // the RMSNorm of h of each layer: the input of F
  private final List<Tensor> f = new ArrayList<>();
  private final Tensor normWeight;
  private final Tensor merged;
  private final Tensor z;
  private final Tensor dX;
  private final Tensor dF;
  private final Tensor dY;
  private final float[] rows;
  private final float[] moreRows;
  private final float[] yetMoreRows;

  Stack(Device device, Kind kind, List<LayerFunction> functions, int tokens, int width, double scale, long seed) {
    this.device = device;
    this.kind = kind;
    this.functions = functions;
    this.tokens = tokens;
    this.width = width;
    layers = functions.size();
    for (int l = 0; l < layers; l++) {
      Parameters parameters = kind.parameters(device, width, scale, seed + l);
      connections.add(HyperConnection.create(device, kind.config, parameters, tokens));
      gradients.add(Gradients.like(parameters));
      x.add(device.tensor(DType.BF16, tokens, Kind.STREAMS, width));
      y.add(layerTensor());
      f.add(layerTensor());
    }
    x.add(device.tensor(DType.BF16, tokens, Kind.STREAMS, width));
    normWeight = device.tensor(DType.FP32, width).fill(1);
    merged = layerTensor();
    z = layerTensor();
    dX = device.tensor(DType.BF16, tokens, Kind.STREAMS, width);
    dF = layerTensor();
    dY = layerTensor();
    rows = new float[tokens * width];
    moreRows = new float[tokens * width];
    yetMoreRows = new float[tokens * width];
  }

  private Tensor layerTensor() {
    return device.tensor(DType.BF16, tokens, width);
  }

  /** From the embedded text to the residual that leaves the last layer. */
  void forward(Tensor embedded) {
    Expand.forward(embedded, x.get(0));
    connections.get(0).pre(x.get(0), input(0));
    for (int l = 0; l < layers; l++) {
      Rows.read(y.get(l), rows);
      functions.get(l).forward(rows, moreRows);
      Rows.write(f.get(l), moreRows);
      if (l + 1 < layers) {
        connections.get(l).boundary(x.get(l), f.get(l), connections.get(l + 1), x.get(l + 1), input(l + 1));
      } else {
        connections.get(l).post(x.get(l), f.get(l), x.get(l + 1));
      }
    }
  }

  /** The loss; its gradient is kept for the backward. */
  double loss(float[] embedding, Text text) {
    Head.mean(x.get(layers), merged);
    RmsNorm.forward(merged, null, NORM_EPS, z, null);
    var dZ = new float[tokens * width];
    double loss = NextByte.loss(Rows.read(z), embedding, text, dZ);
    Rows.write(dF, dZ);
    RmsNorm.backward(merged, null, NORM_EPS, dF, dY, null, Accumulate.NONE);
    Head.meanBackward(dY, dX, Accumulate.NONE);
    return loss;
  }

  /**
   * From the gradient of the residual that leaves the last layer to that of the embedded text.
   *
   * @param dEmbedded written
   * @param rms root mean square of the gradient that reaches each layer on the residual, written
   */
  void backward(Tensor dEmbedded, double[] rms) {
    int last = layers - 1;
    connections.get(last).postBackward(x.get(last), f.get(last), dX, dX, dF);
    rms[last] = rms(dX);
    for (int l = last; l >= 0; l--) {
      Rows.read(y.get(l), rows);
      Rows.read(dF, moreRows);
      functions.get(l).backward(rows, moreRows, yetMoreRows);
      Rows.write(dY, yetMoreRows);
      var dInput = new LayerInputGradient(dY, normWeight, NORM_EPS, null);
      if (l > 0) {
        connections.get(l - 1).boundaryBackward(x.get(l - 1), f.get(l - 1), connections.get(l), dInput, dX, dX, dF,
            gradients.get(l), Accumulate.NONE);
      } else {
        connections.get(0).preBackward(x.get(0), dInput, dX, dX, gradients.get(0), Accumulate.NONE);
      }
      rms[Math.max(0, l - 1)] = rms(dX);
    }
    Expand.backward(dX, dEmbedded, Accumulate.NONE);
  }

  private LayerInput input(int layer) {
    return LayerInput.normalized(normWeight, NORM_EPS, y.get(layer));
  }

  /** The root mean square of the residual that enters each layer. */
  double[] residualRms() {
    var rms = new double[layers];
    for (int l = 0; l < layers; l++) {
      rms[l] = rms(x.get(l));
    }
    return rms;
  }

  /** Of the gradients of all projections, root of the sum of squares; 0 where there are none. */
  double projectionGradientNorm() {
    double squares = 0;
    for (Gradients one : gradients) {
      if (one.projection() != null) {
        double rms = rms(one.projection());
        squares += rms * rms * one.projection().elements();
      }
    }
    return Math.sqrt(squares);
  }

  private static double rms(Tensor tensor) {
    double sum = 0;
    for (float value : Rows.read(tensor)) {
      sum += (double) value * value;
    }
    return Math.sqrt(sum / tensor.elements());
  }

  /** The mixes of the residual that the last forward made: {@code [L, T, n, n]}. */
  Tensor resMixes() {
    int n = Kind.STREAMS;
    Tensor all = device.tensor(DType.FP32, layers, tokens, n, n);
    for (int l = 0; l < layers; l++) {
      MemorySegment from = connections.get(l).coefficients().resMix().segment();
      MemorySegment.copy(from, 0, all.segment(), l * from.byteSize(), from.byteSize());
    }
    return all;
  }

  @Override
  public void close() {
    for (HyperConnection connection : connections) {
      connection.close();
      connection.parameters().close();
    }
    gradients.forEach(Gradients::close);
    x.forEach(Tensor::close);
    y.forEach(Tensor::close);
    f.forEach(Tensor::close);
    for (Tensor tensor : List.of(normWeight, merged, z, dX, dF, dY)) {
      tensor.close();
    }
  }
}
