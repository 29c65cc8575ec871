// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.DefaultTrainingConfig;
import ai.djl.training.EasyTrain;
import ai.djl.training.ParameterStore;
import ai.djl.training.Trainer;
import ai.djl.training.dataset.ArrayDataset;
import ai.djl.training.dataset.Batch;
import ai.djl.training.loss.Loss;
import ai.djl.training.optimizer.Optimizer;
import ai.djl.training.tracker.Tracker;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.djl.examples.Stack;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** With DJL's own trainer, optimiser and saver. */
class TrainerTest {
  private static final int WIDTH = 16;
  private static final Shape INPUT = new Shape(8, WIDTH);

  @TempDir
  Path folder;

  private final Device device = Models.device();

  @AfterEach
  void close() {
    device.close();
  }

  private Trainer trainer(Model model) {
    return Stack.trainer(device, Models.config(Mode.MHC), List.of(Models.function(WIDTH), Models.function(WIDTH)), WIDTH, model,
        config());
  }

  private static DefaultTrainingConfig config() {
    return new DefaultTrainingConfig(Loss.l2Loss()).optOptimizer(Optimizer.adam()
        .optLearningRateTracker(Tracker.fixed(3e-3f)).build());
  }

  private static ArrayDataset data(NDManager manager) throws Exception {
    NDArray x = Models.random(manager, 1, 1, new Shape(64, WIDTH));
    NDArray y = x.get(":, 0:1").mul(x.get(":, 1:2")); // no linear function
    ArrayDataset data = new ArrayDataset.Builder().setData(x).optLabels(y).setSampling(8, false).build();
    data.prepare();
    return data;
  }

  @Test
  void learnsAndIsSaved() throws Exception {
    float[] expected;
    try (Model model = Model.newInstance("model", ai.djl.Device.cpu(), "PyTorch")) {
      try (Trainer trainer = trainer(model)) {
        trainer.initialize(INPUT);
        ArrayDataset data = data(model.getNDManager());
        double first = loss(trainer, data);
        NDArray bias = model.getBlock().getParameters().get("02HyperConnectionStack_01layer0_bias").getArray();
        float[] biasBefore = bias.toFloatArray();
        EasyTrain.fit(trainer, 25, data, null);
        assertThat(loss(trainer, data)).isLessThan(0.3 * first);
        assertThat(bias.toFloatArray()).isNotEqualTo(biasBefore);
      }
      expected = predict(model);
      model.save(folder, "model");
    }
    try (Model model = Model.newInstance("model", ai.djl.Device.cpu(), "PyTorch")) {
      trainer(model).close(); // sets the block
      model.load(folder, "model");
      assertThat(predict(model)).isEqualTo(expected);
    }
  }

  private static float[] predict(Model model) {
    NDManager manager = model.getNDManager();
    return model.getBlock().forward(new ParameterStore(manager, false), new NDList(Models.random(manager, 3, 1, INPUT)), false)
        .singletonOrThrow().toFloatArray();
  }

  private static double loss(Trainer trainer, ArrayDataset data) throws Exception {
    double sum = 0;
    for (Batch batch : trainer.iterateDataset(data)) {
      sum += trainer.getLoss().evaluate(batch.getLabels(), trainer.evaluate(batch.getData())).getFloat();
      batch.close();
    }
    return sum;
  }

  @Test
  @Tag("slow")
  void nothingLeaks() {
    try (NDManager manager = Models.manager();
        HyperConnectionStack stack = HyperConnectionStack.builder(Models.layers(device, Models.config(Mode.MHC), 2, WIDTH))
            .optRecompute(true).build()) {
      Models.initialize(stack, manager, INPUT);
      long[] after = new long[2];
      long[] arrays = new long[2];
      long[] heap = new long[2];
      for (int step = 0; step <= 1020; step++) {
        Models.step(stack, manager, INPUT);
        if (step == 20 || step == 1020) {
          System.gc();
          after[step / 1000] = device.liveBytes();
          arrays[step / 1000] = manager.getManagedArrays().size();
          heap[step / 1000] = Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
        }
      }
      assertThat(after[1]).isEqualTo(after[0]);
      assertThat(arrays[1]).isEqualTo(arrays[0]);
      assertThat(heap[1]).isLessThan(heap[0] + (2 << 20));
    }
  }
}
