// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.PipelineOptions.Wire;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** A model of several layers, run by a pipeline's ranks or by one; and all that came of it, in bits. */
final class Pipelines {
  static final int TOKENS = 5;
  static final int STREAMS = 4;
  static final int WIDTH = 40;
  static final PipelineOptions BF16 = new PipelineOptions(TOKENS, WIDTH, DType.BF16, Wire.EXACT);

  private Pipelines() {}

  /** What a stage made: by name, the bytes of tensors. */
  static class Results extends TreeMap<String, byte[]> {
    private static final long serialVersionUID = 1L;

    void keep(String name, Tensor tensor) {
      try (HostView view = HostView.reading(tensor.device(), tensor.memory())) {
        assertThat(put(name, view.data.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE))).as("%s was made once", name).isNull();
      }
    }
  }

  /** F(h) = h times a factor of the layer, in the tensors' type; the loss is linear. */
  private record Model(int firstLayer, Results results) implements PipelineModel {
    @Override
    public boolean isFeedForward(int layer) {
      return (firstLayer + layer) % 2 == 1;
    }

    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      scale(layer, h, f);
    }

    @Override
    public void backward(int microBatch, int layer, Tensor h, Tensor dF, Tensor dH) {
      results.keep("h" + (firstLayer + layer) + "." + microBatch, h);
      scale(layer, dF, dH);
    }

    private void scale(int layer, Tensor from, Tensor to) {
      double factor = 0.5 + 0.25 * (firstLayer + layer);
      to.copyFrom(Arrays.stream(from.toDoubles()).map(x -> factor * x).toArray());
    }

    @Override
    public void begin(int microBatch, Tensor x) {
      var random = new Random(1000 + microBatch);
      x.copyFrom(random.doubles(x.elements()).map(v -> 2 * v - 1).toArray());
    }

    @Override
    public void end(int microBatch, Tensor x) {
      results.keep("x." + microBatch, x);
    }

    @Override
    public void end(int microBatch, Tensor x, Tensor dX) {
      results.keep("x." + microBatch, x);
      var random = new Random(2000 + microBatch);
      dX.copyFrom(random.doubles(x.elements()).map(v -> 2 * v - 1).toArray());
    }

    @Override
    public void beginBackward(int microBatch, Tensor dX) {
      results.keep("dX." + microBatch, dX);
    }
  }

  /** Runs a rank's part of a model with as many layers; twice, so that what is used again is. */
  static Results run(Communicator communicator, PipelineSchedule schedule, PipelineOptions options, int layers) {
    var results = new Results();
    Device device = communicator.device();
    int perStage = layers / schedule.ranks();
    var parts = new ArrayList<PipelineStage.Part>();
    var gradients = new ArrayList<Map<Integer, Gradients>>();
    for (int direction = 0; direction < schedule.directions(); direction++) {
      int firstLayer = perStage * schedule.stage(communicator.rank(), direction);
      parts.add(part(device, firstLayer, perStage, new Results()));
    }
    try (PipelineStage stage = PipelineStage.create(communicator, schedule, options, parts)) {
      stage.run();
    }
    parts.clear();
    for (int direction = 0; direction < schedule.directions(); direction++) {
      int firstLayer = perStage * schedule.stage(communicator.rank(), direction);
      PipelineStage.Part part = part(device, firstLayer, perStage, results);
      parts.add(part);
      var own = new TreeMap<Integer, Gradients>();
      for (int layer = 0; layer < perStage; layer++) {
        own.put(firstLayer + layer, part.gradients().get(layer));
      }
      gradients.add(own);
    }
    try (PipelineStage stage = PipelineStage.create(communicator, schedule, options, parts)) {
      stage.run();
    }
    for (int direction = 0; direction < gradients.size(); direction++) {
      int at = direction;
      gradients.get(direction).forEach((layer, each) -> {
        results.keep("projection" + layer + " of direction " + at, each.projection());
        results.keep("bias" + layer + " of direction " + at, each.bias());
      });
    }
    return results;
  }

  static PipelineStage.Part part(Device device, int firstLayer, int count, Results results) {
    HyperConnectionConfig config = Preset.PAPER.config(STREAMS);
    var layers = new ArrayList<HyperConnection>();
    var gradients = new ArrayList<Gradients>();
    for (int layer = firstLayer; layer < firstLayer + count; layer++) {
      Parameters parameters = Parameters.initialize(device, config, WIDTH, 77L + layer);
      layers.add(HyperConnection.create(device, config, parameters));
      gradients.add(Gradients.like(parameters));
    }
    return new PipelineStage.Part(layers, gradients, new Model(firstLayer, results));
  }

  /**
   * The same without a pipeline: every second micro-batch, or every one, forward and backward at once through all layers.
   * Gradients are rounded to the tensors' type where one stage ends and another begins, as between ranks.
   */
  static Results single(Device device, int layers, int stages, int microBatches, int directions, boolean training) {
    var results = new Results();
    for (int direction = 0; direction < directions; direction++) {
      PipelineStage.Part all = part(device, 0, layers, results);
      for (int m = direction; m < microBatches; m += directions) {
        Tensor[] x = new Tensor[layers + 1];
        Tensor[] f = new Tensor[layers];
        Tensor[] h = new Tensor[layers];
        forward(device, all, m, x, f, h);
        if (training) {
          Tensor dX = device.tensor(DType.BF16, TOKENS, STREAMS, WIDTH);
          all.model().end(m, x[layers], dX);
          for (int stage = stages - 1; stage >= 0; stage--) {
            backward(device, all, m, stage * layers / stages, (stage + 1) * layers / stages, x, f, h, dX);
          }
          all.model().beginBackward(m, dX);
        } else {
          all.model().end(m, x[layers]);
        }
      }
      for (int layer = 0; layer < layers; layer++) {
        Gradients gradients = all.gradients().get(layer);
        results.keep("projection" + layer + " of direction " + direction, gradients.projection());
        results.keep("bias" + layer + " of direction " + direction, gradients.bias());
      }
    }
    return results;
  }

  private static void forward(Device device, PipelineStage.Part all, int m, Tensor[] x, Tensor[] f, Tensor[] h) {
    for (int l = 0; l < x.length; l++) {
      x[l] = device.tensor(DType.BF16, TOKENS, STREAMS, WIDTH);
    }
    all.model().begin(m, x[0]);
    for (int l = 0; l < f.length; l++) {
      f[l] = device.tensor(DType.BF16, TOKENS, WIDTH);
      h[l] = device.tensor(DType.BF16, TOKENS, WIDTH);
      all.layers().get(l).pre(x[l], h[l]);
      all.model().forward(m, l, h[l], f[l]);
      all.layers().get(l).post(x[l], f[l], x[l + 1]);
    }
  }

  /** Layers from (in) to (out); dX is the gradient of what leaves them, and then of what enters. */
  private static void backward(Device device, PipelineStage.Part all, int m, int from, int to, Tensor[] x, Tensor[] f,
      Tensor[] h, Tensor dX) {
    Tensor dF = device.tensor(DType.BF16, TOKENS, WIDTH);
    Tensor dH = device.tensor(DType.BF16, TOKENS, WIDTH);
    all.layers().get(to - 1).postBackward(x[to - 1], f[to - 1], dX, dX, dF);
    for (int l = to - 1; l > from; l--) {
      all.model().backward(m, l, h[l], dF, dH);
      all.layers().get(l - 1).boundaryBackward(x[l - 1], f[l - 1], all.layers().get(l), LayerInputGradient.of(dH), dX, dX,
          dF, all.gradients().get(l), Accumulate.PARAMETERS);
    }
    all.model().backward(m, from, h[from], dF, dH);
    all.layers().get(from).preBackward(x[from], LayerInputGradient.of(dH), dX, dX, all.gradients().get(from),
        Accumulate.PARAMETERS);
  }

  /** What a rank made is to the bit what was made without a pipeline. */
  static void assertSame(Results own, Results single) {
    assertThat(own).isNotEmpty();
    own.forEach((name, bytes) -> assertThat(bytes).as(name).isEqualTo(single.get(name)));
  }
}
