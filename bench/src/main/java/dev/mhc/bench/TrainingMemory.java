// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gradients;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.LayerInputGradient;
import dev.mhc.Parameters;
import dev.mhc.Recompute;
import dev.mhc.RecomputePlan;
import dev.mhc.RmsNorm;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * What a training step holds and how long it takes, by the length of the blocks that are recomputed. F is the RMSNorm of
 * its input, which it keeps, as any F keeps what enters it. The outputs of F are stored all along and not counted: every
 * scheme has them.
 */
public final class TrainingMemory implements AutoCloseable {
  private static final int STREAMS = 4;
  private static final float EPS = 1e-6f;

  /**
   * A step.
   *
   * @param blockLength layers of a block
   * @param planned whether the planner chooses this length
   * @param predicted bytes that the planner expects to be held: n C a block, and (n + 2) C a layer of the longest block
   * @param measured bytes that were held at most, by the device's own account
   * @param seconds of the step
   */
  public record Step(int blockLength, boolean planned, double predicted, double measured, double seconds) {}

  private final Device device;
  private final int layers;
  private final long tokens;
  private final long width;
  private final List<HyperConnection> connections = new ArrayList<>();
  private final List<Runnable> owned = new ArrayList<>();
  private final Gradients gradients;
  private final Tensor[] f;
  private final Tensor entering;
  private final Tensor x;
  private final Tensor h;
  private final Tensor dX;
  private final Tensor dF;
  private final Tensor dY;
  private final Tensor normWeight;

  /** A stack of layers on a device. */
  public TrainingMemory(Device device, int layers, long tokens, long width) {
    this.device = device;
    this.layers = layers;
    this.tokens = tokens;
    this.width = width;
    HyperConnectionConfig config = Preset.PAPER.config(STREAMS);
    Parameters parameters = Parameters.initialize(device, config, width, 1);
    owned.add(parameters::close);
    gradients = Gradients.like(parameters);
    owned.add(gradients::close);
    f = new Tensor[layers];
    for (int l = 0; l < layers; l++) {
      HyperConnection connection = HyperConnection.create(device, config, parameters, tokens);
      connections.add(connection);
      owned.add(connection::close);
      f[l] = own(layerTensor());
    }
    entering = own(Rows.random(streamsTensor(), new SplittableRandom(1), 1));
    x = own(streamsTensor());
    dX = own(streamsTensor());
    h = own(layerTensor());
    dF = own(layerTensor());
    dY = own(layerTensor());
    normWeight = own(device.tensor(DType.FP32, width).fill(1));
  }

  private Tensor own(Tensor tensor) {
    owned.add(tensor::close);
    return tensor;
  }

  private Tensor streamsTensor() {
    return device.tensor(DType.BF16, tokens, STREAMS, width);
  }

  private Tensor layerTensor() {
    return device.tensor(DType.BF16, tokens, width);
  }

  /** Steps with blocks of each of these lengths. The gradients that arrive at the first layer have to be the same bits. */
  public List<Step> measure(int... lengths) {
    int planned = RecomputePlan.of(layers, STREAMS).blockLength();
    var steps = new ArrayList<Step>();
    double[] expected = null;
    for (int length : lengths) {
      step(length); // its workspace is there
      long start = System.nanoTime();
      long held = step(length);
      double seconds = (System.nanoTime() - start) * 1e-9;
      double[] got = dX.toDoubles();
      if (expected != null && !java.util.Arrays.equals(got, expected)) {
        throw new IllegalStateException("blocks of " + length + " layers give other gradients than blocks of " + lengths[0]);
      }
      expected = got;
      int blocks = (layers + length - 1) / length;
      double unit = (double) tokens * width * DType.BF16.bytes();
      steps.add(new Step(length, length == planned, unit * (STREAMS * blocks + (STREAMS + 2.0) * length), held, seconds));
    }
    return steps;
  }

  /** Forward and backward; the most bytes held on top of what is there anyway. */
  private long step(int length) {
    long before = device.liveBytes();
    var blocks = new ArrayList<Block>();
    x.copyFrom(entering);
    for (int l = 0; l < layers; l++) {
      if (l % length == 0) {
        blocks.add(new Block(l, Math.min(length, layers - l)));
      }
      if (l == 0) {
        connections.get(0).pre(x, h);
      }
      RmsNorm.forward(h, normWeight, EPS, f[l], null);
      if (l + 1 < layers) {
        connections.get(l).boundary(x, f[l], connections.get(l + 1), x, h);
      }
    }
    long most = 0;
    dX.fill(0x1p-4); // what reaches the residual behind the last layer
    Block block = blocks.getLast();
    block.rebuild();
    for (int l = layers - 1; l >= 0; l--) {
      most = Math.max(most, device.liveBytes() - before);
      if (l == layers - 1) {
        connections.get(l).postBackward(block.residual(l), f[l], dX, dX, dF);
      }
      RmsNorm.backward(block.input(l), normWeight, EPS, dF, dY, null, Accumulate.NONE);
      if (l == 0) {
        connections.get(0).preBackward(block.residual(0), LayerInputGradient.of(dY), dX, dX, gradients, Accumulate.NONE);
      } else {
        if (l == block.start) {
          block.close();
          blocks.removeLast();
          block = blocks.getLast();
          block.rebuild();
        }
        connections.get(l - 1).boundaryBackward(block.residual(l - 1), f[l - 1], connections.get(l),
            LayerInputGradient.of(dY), dX, dX, dF, gradients, Accumulate.NONE);
      }
    }
    block.close();
    return most;
  }

  /** A block of layers, of which the forward keeps the residual that enters it. */
  private final class Block implements AutoCloseable {
    final int start;
    private final Recompute recompute;
    private final Tensor kept;
    private final Tensor[] residuals;
    private final Tensor[] inputs;
    private final Tensor[] kepts;

    Block(int start, int count) {
      this.start = start;
      recompute = Recompute.of(connections.subList(start, start + count));
      kept = streamsTensor().copyFrom(x);
      residuals = new Tensor[count];
      inputs = new Tensor[count];
      kepts = new Tensor[count];
    }

    void rebuild() {
      for (int i = 0; i < residuals.length; i++) {
        residuals[i] = i == 0 ? null : streamsTensor();
        inputs[i] = layerTensor();
        kepts[i] = layerTensor();
      }
      var stored = new Tensor[residuals.length];
      System.arraycopy(f, start, stored, 0, stored.length);
      recompute.run(kept, null, stored, residuals, inputs, null);
      for (int i = 0; i < inputs.length; i++) {
        RmsNorm.forward(inputs[i], normWeight, EPS, kepts[i], null);
      }
    }

    Tensor residual(int layer) {
      return layer == start ? kept : residuals[layer - start];
    }

    Tensor input(int layer) {
      return inputs[layer - start];
    }

    @Override
    public void close() {
      kept.close();
      for (int i = 0; i < residuals.length; i++) {
        if (residuals[i] != null) {
          residuals[i].close();
        }
        inputs[i].close();
        kepts[i].close();
      }
    }
  }

  @Override
  public void close() {
    owned.reversed().forEach(Runnable::run);
  }
}
