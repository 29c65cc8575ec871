// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import dev.mhc.Device;
import dev.mhc.djl.SegmentedGradientCollector;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class WholeModelTest {
  private static final double CLOSE = 1e-4; // of a tensor's norm

  private final Device device = Small.device();
  private final NDManager manager = NDManager.newBaseManager(ai.djl.Device.cpu(), "PyTorch");

  @AfterEach
  void close() {
    manager.close();
    device.close();
  }

  /** With all of what is learned away from where it begins, so that every term counts. */
  private Transformer model(Settings settings) {
    var model = new Transformer(device, settings);
    model.initialize(manager, DataType.FLOAT32, new Shape(settings.batch(), settings.context()));
    var random = new SplittableRandom(3);
    model.getParameters().forEach(each -> {
      NDArray array = each.getValue().getArray();
      double deviation = each.getKey().endsWith("scale") ? 0.5 : each.getKey().endsWith("bias") ? 0.3 : 0.05;
      float[] values = array.toFloatArray();
      for (int i = 0; i < values.length; i++) {
        values[i] += (float) (deviation * random.nextGaussian());
      }
      manager.create(values, array.getShape()).copyTo(array);
    });
    return model;
  }

  private Map<String, float[]> gradients(Transformer model, Settings settings,
      BiFunction<ParameterStore, NDArray, NDArray> logits) {
    var gradients = new LinkedHashMap<String, float[]>();
    try (NDManager arrays = manager.newSubManager();
        GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
      Corpus.Batch batch = Small.corpus().training(arrays, settings, 3);
      NDArray loss = Training.loss(logits.apply(new ParameterStore(manager, false), batch.bytes()), batch.next());
      gradients.put("loss", loss.toFloatArray());
      collector.backward(loss);
      model.getParameters().forEach(each -> {
        try (NDArray gradient = each.getValue().getArray().getGradient()) {
          gradients.put(each.getKey(), gradient.toFloatArray());
          gradient.subi(gradient);
        }
      });
    }
    return gradients;
  }

  @ParameterizedTest
  @EnumSource
  void gradientsAreThoseOfDjlAlone(Kind kind) {
    Settings settings = Small.settings(kind, 4);
    Transformer model = model(settings);
    Map<String, float[]> expected = gradients(model, settings, new Reference(model, settings)::logits);
    Map<String, float[]> actual = gradients(model, settings,
        (store, bytes) -> model.forward(store, new NDList(bytes), true).singletonOrThrow());
    assertThat(actual).hasSize(1 + 4 + 4 * 6 + 8 * (kind == Kind.RESIDUAL ? 1 : 4)); // loss, ends, F, hyper-connections
    expected.forEach((name, values) -> {
      double size = 0;
      double apart = 0;
      for (int i = 0; i < values.length; i++) {
        size += (double) values[i] * values[i];
        apart += Math.pow((double) values[i] - actual.get(name)[i], 2);
      }
      assertThat(size).as(name).isGreaterThan(0);
      assertThat(Math.sqrt(apart / size)).as(name).isLessThan(CLOSE);
    });
  }

  @Test
  void noByteSeesALaterOne() {
    Settings settings = Small.settings(Kind.MHC, 2);
    Transformer model = model(settings);
    long[] bytes = new long[settings.tokens()];
    float[] before = logits(model, bytes, settings);
    bytes[5] = 77; // of the first sequence
    float[] after = logits(model, bytes, settings);
    for (int place = 0; place < settings.tokens(); place++) {
      boolean maySee = place >= 5 && place < settings.context();
      int from = place * Transformer.VALUES;
      assertThat(Arrays.equals(before, from, from + Transformer.VALUES, after, from, from + Transformer.VALUES))
          .as("place " + place).isEqualTo(!maySee);
    }
  }

  private float[] logits(Transformer model, long[] bytes, Settings settings) {
    NDArray input = manager.create(bytes, new Shape(settings.batch(), settings.context()));
    return model.forward(new ParameterStore(manager, false), new NDList(input), false).singletonOrThrow().toFloatArray();
  }
}
