// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Communicator;
import dev.mhc.CommunicatorOptions;
import dev.mhc.CpuOptions;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnection;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.Parameters;
import dev.mhc.PipelineModel;
import dev.mhc.PipelineOptions;
import dev.mhc.PipelineOptions.Wire;
import dev.mhc.PipelineSchedule;
import dev.mhc.PipelineStage;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.List;

/** A pipeline over all processes: {@code mpirun -n 4 java ... dev.mhc.examples.Pipeline}. Alone, it is one stage. */
public final class Pipeline {
  private static final int LAYERS = 2; // of each stage

  /** What is yours: attention and feed-forward layers, embedding, head and loss. */
  private record Model(int stage) implements PipelineModel {
    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      f.copyFrom(h);
    }

    @Override
    public void begin(int microBatch, Tensor x) {
      x.fill(0.5);
    }

    @Override
    public void end(int microBatch, Tensor x) {
      System.out.println("stage " + stage + ", micro-batch " + microBatch + ": " + x.get(0, 0, 0));
    }
  }

  public static void main(String... arguments) {
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
        Communicator ranks = Communicator.world(device, CommunicatorOptions.DEFAULT)) {
      HyperConnectionConfig config = Preset.DEEPSEEK_V4.config(4);
      List<HyperConnection> layers = new ArrayList<>();
      for (int layer = 0; layer < LAYERS; layer++) {
        Parameters parameters = Parameters.initialize(device, config, 256, 100L * ranks.rank() + layer);
        layers.add(HyperConnection.create(device, config, parameters));
      }
      // @start region="pipeline"
      PipelineSchedule schedule = PipelineSchedule.forwardOnly(ranks.ranks(), 8); // or oneForwardOneBackward, bothEnds
      PipelineOptions options = new PipelineOptions(64, 256, DType.BF16, Wire.EXACT); // tokens, width; or Wire.FP8
      var part = new PipelineStage.Part(layers, List.of(), new Model(ranks.rank())); // this rank's layers, your model
      try (PipelineStage stage = PipelineStage.create(ranks, schedule, options, List.of(part))) {
        stage.run(); // all 8 micro-batches through this rank's layers
      }
      // @end
    }
  }
}
