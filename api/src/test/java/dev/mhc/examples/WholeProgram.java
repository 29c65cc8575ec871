// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Communicator;
import dev.mhc.CommunicatorOptions;
import dev.mhc.CpuOptions;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Gradients;
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
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/**
 * Multiplies FP8 matrices, makes an update orthogonal, and trains four stages of layers as a pipeline: on the device that
 * its argument names, {@code cpu}, {@code cuda:0} or {@code best}. The stages are threads of this process; or processes,
 * under {@code mpirun -n 4} or {@code srun -n 4}.
 */
public final class WholeProgram {
  private static final int STAGES = 4;
  private static final int LAYERS = 2; // of each stage
  private static final int MICRO_BATCHES = 8;
  private static final int TOKENS = 16;
  private static final int WIDTH = 128;

  private WholeProgram() {}

  // @start region="main"
  public static void main(String... arguments) throws ExecutionException, InterruptedException {
    String where = arguments.length == 0 ? "best" : arguments[0]; // or cpu, or cuda:0
    try (Device device = open(where);
        Communicator world = Communicator.world(device, CommunicatorOptions.DEFAULT)) {
      if (world.rank() == 0) {
        products(device);
      }
      if (world.ranks() > 1) { // processes that mpirun or srun started: a stage each
        stage(world);
        return;
      }
    }
    List<Device> devices = Stream.generate(() -> open(where)).limit(STAGES).toList(); // threads: a stage each
    try (ExecutorService threads = Executors.newFixedThreadPool(STAGES)) {
      List<Future<?>> stages = new ArrayList<>();
      for (Communicator ranks : Communicator.initAll(devices)) {
        stages.add(threads.submit(() -> stage(ranks)));
      }
      for (Future<?> stage : stages) {
        stage.get();
      }
    } finally {
      devices.forEach(Device::close);
    }
  }

  private static Device open(String name) {
    return switch (name) {
      case "best" -> Device.best();
      case "cpu" -> Device.cpu(CpuOptions.DEFAULT.withThreads(1));
      default -> Device.cuda(Integer.parseInt(name.substring("cuda:".length())));
    };
  }
  // @end

  private static void products(Device device) {
    try (Tensor x = device.tensor(DType.BF16, 128, WIDTH).fill(0.5);
        Tensor weight = device.tensor(DType.BF16, WIDTH, WIDTH).fill(0.25);
        Tensor y = device.tensor(DType.BF16, 128, WIDTH);
        Tensor learned = device.tensor(DType.FP32, WIDTH, WIDTH);
        Tensor gradient = device.tensor(DType.FP32, WIDTH, WIDTH)) {
      MatrixProducts.fp8(device, x, weight, y);
      System.out.println("FP8 product: " + y.get(0, 0));
      double[] values = new double[WIDTH * WIDTH]; // yours: the gradient of the loss
      for (int i = 0; i < values.length; i++) {
        values[i] = Math.sin(i * 0.7 * (1 + i / WIDTH));
      }
      gradient.copyFrom(values);
      MuonStep.train(device, learned, gradient, 1);
      double squares = 0;
      for (double value : learned.toDoubles()) {
        squares += value * value;
      }
      System.out.println("orthogonal update: " + Math.sqrt(squares / values.length)); // its RMS
    }
  }

  /** What is yours: attention and feed-forward layers, embedding, head and loss. */
  private record Model(int stage) implements PipelineModel {
    @Override
    public boolean isFeedForward(int layer) {
      return layer % 2 == 1;
    }

    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      f.copyFromAsync(h);
    }

    @Override
    public void backward(int microBatch, int layer, Tensor h, Tensor dF, Tensor dH) {
      dH.copyFromAsync(dF);
    }

    @Override
    public void begin(int microBatch, Tensor x) {
      x.fill(0.5);
    }

    @Override
    public void end(int microBatch, Tensor x, Tensor dX) {
      System.out.println("stage " + stage + ", micro-batch " + microBatch + ": " + x.get(0, 0, 0));
      dX.fill(1);
    }
  }

  private static void stage(Communicator ranks) {
    Device device = ranks.device();
    HyperConnectionConfig config = Preset.DEEPSEEK_V4.config(4);
    List<HyperConnection> layers = new ArrayList<>();
    List<Gradients> gradients = new ArrayList<>();
    for (int layer = 0; layer < LAYERS; layer++) {
      Parameters parameters = Parameters.initialize(device, config, WIDTH, 100L * ranks.rank() + layer);
      layers.add(HyperConnection.create(device, config, parameters));
      gradients.add(Gradients.like(parameters));
    }
    // @start region="pipeline"
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(ranks.ranks(), MICRO_BATCHES); // or bothEnds
    PipelineOptions options = new PipelineOptions(TOKENS, WIDTH, DType.BF16, Wire.EXACT); // or Wire.FP8
    var part = new PipelineStage.Part(layers, gradients, new Model(ranks.rank())); // this rank's layers, your model
    try (PipelineStage stage = PipelineStage.create(ranks, schedule, options, List.of(part))) {
      stage.run(); // all micro-batches through this rank's layers, forward and backward
    }
    // @end
  }
}
