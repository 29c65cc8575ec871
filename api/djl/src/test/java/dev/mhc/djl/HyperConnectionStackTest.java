// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.training.GradientCollector;
import ai.djl.training.ParameterStore;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.HyperConnectionConfig.Preset;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class HyperConnectionStackTest {
  private static final int WIDTH = 24;
  private static final Shape INPUT = new Shape(2, 5, WIDTH);

  private final Device device = Models.device();
  private final NDManager manager = Models.manager();

  @AfterEach
  void close() {
    manager.close();
    device.close();
  }

  private HyperConnectionStack stack(HyperConnectionConfig config, int layers, boolean recompute, DType type) {
    return Models.initialize(HyperConnectionStack.builder(Models.layers(device, config, layers, WIDTH)).optType(type)
        .optRecompute(recompute).build(), manager, INPUT);
  }

  private static void assertSame(Map<String, float[]> actual, Map<String, float[]> expected) {
    assertThat(actual.keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, values) -> assertThat(actual.get(name)).as(name).isEqualTo(values));
  }

  @ParameterizedTest
  @EnumSource
  void gradientsAreThoseOfFiniteDifferences(Mode mode) {
    HyperConnectionStack stack = stack(Models.config(mode), 3, false, DType.FP32);
    Map<String, float[]> gradients = Models.step(stack, manager, INPUT);
    assertThat(gradients).hasSizeGreaterThan(2 + 3 * 4);
    var random = new SplittableRandom(5);
    stack.getParameters().forEach(pair -> {
      NDArray array = pair.getValue().getArray();
      // Along a random direction, so that one difference checks all entries.
      NDArray direction = Models.random(manager, random.nextLong(), 1, array.getShape());
      double step = 2e-2 / Math.sqrt(direction.size());
      double up = loss(stack, array, direction, step);
      double down = loss(stack, array, direction, -step);
      double expected = (up - down) / (2 * step);
      double actual = 0;
      float[] along = direction.toFloatArray();
      for (int i = 0; i < along.length; i++) {
        actual += (double) along[i] * gradients.get(pair.getKey())[i];
      }
      assertThat(actual).as(pair.getKey()).isCloseTo(expected, within(0.02 * Math.abs(expected) + 0.1));
    });
  }

  private double loss(Block block, NDArray array, NDArray direction, double step) {
    NDArray was = array.duplicate();
    array.addi(direction.mul(step));
    float[] output = Models.step(block, manager, INPUT).get("output");
    was.copyTo(array);
    float[] weights = Models.random(manager, 2, 1, INPUT).toFloatArray();
    double sum = 0;
    for (int i = 0; i < output.length; i++) {
      sum += (double) output[i] * weights[i];
    }
    return sum;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 7})
  void recomputingGivesTheSameBits(int layers) {
    for (HyperConnectionConfig config : List.of(Models.config(Mode.MHC), Preset.DEEPSEEK_V4_1.config(4))) {
      for (DType type : new DType[] {DType.FP32, DType.BF16}) {
        assertSame(Models.step(stack(config, layers, true, type), manager, INPUT),
            Models.step(stack(config, layers, false, type), manager, INPUT));
      }
    }
  }

  @Test
  void recomputingHoldsLess() {
    assertThat(held(true)).isLessThan(held(false) * 3 / 4);
  }

  private long held(boolean recompute) {
    var wide = new Shape(16, 256);
    try (HyperConnectionStack stack = HyperConnectionStack.builder(Models.layers(device, Models.config(Mode.MHC), 12, 256))
        .optRecompute(recompute).build()) {
      Models.step(Models.initialize(stack, manager, wide), manager, wide);
      return device.liveBytes();
    } finally {
      assertThat(device.liveBytes()).isZero();
    }
  }

  @Test
  void inferenceGivesTheBitsOfTraining() {
    for (DType type : new DType[] {DType.FP32, DType.BF16}) {
      HyperConnectionStack stack = stack(Models.config(Mode.MHC), 3, false, type);
      float[] trained = Models.step(stack, manager, INPUT).get("output");
      NDArray y = stack.forward(new ParameterStore(manager, false), new NDList(Models.random(manager, 1, 1, INPUT)), false)
          .singletonOrThrow();
      assertThat(y.toFloatArray()).isEqualTo(trained);
      assertThat(y.hasGradient()).isFalse();
    }
  }

  @Test
  void bfloat16IsNearFloat32() {
    Map<String, float[]> exact = Models.step(stack(Models.config(Mode.MHC), 3, false, DType.FP32), manager, INPUT);
    Map<String, float[]> rounded = Models.step(stack(Models.config(Mode.MHC), 3, false, DType.BF16), manager, INPUT);
    exact.forEach((name, values) -> {
      double size = 0;
      double apart = 0;
      for (int i = 0; i < values.length; i++) {
        size += (double) values[i] * values[i];
        apart += Math.pow(values[i] - rounded.get(name)[i], 2);
      }
      assertThat(Math.sqrt(apart / size)).as(name).isGreaterThan(0).isLessThan(0.15);
    });
  }

  @Test
  void layersOneByOneGiveTheSameBits() {
    List<HyperConnectionBlock> layers = Models.layers(device, Models.config(Mode.MHC), 3, WIDTH);
    HyperConnectionStack stack = Models.initialize(HyperConnectionStack.builder(layers).build(), manager, INPUT);
    Map<String, float[]> together = Models.step(stack, manager, INPUT);
    var apart = new OneByOne(layers);
    Map<String, float[]> each = Models.step(apart, manager, INPUT);
    assertThat(each.get("output")).isEqualTo(together.get("output"));
    together.forEach((name, values) -> {
      float[] other = each.get(name);
      for (int i = 0; i < values.length; i++) {
        assertThat(other[i]).as(name).isCloseTo(values[i], within(1e-4f + 1e-4f * Math.abs(values[i])));
      }
    });
  }

  @Test
  void closingFreesAndTheNextForwardBeginsAnew() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 3, true, DType.BF16);
    Map<String, float[]> expected = Models.step(stack, manager, INPUT);
    stack.close();
    assertThat(device.liveBytes()).isZero();
    assertSame(Models.step(stack, manager, INPUT), expected);
  }

  @Test
  void frozenParametersGetNoGradient() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 2, false, DType.FP32);
    Map<String, float[]> all = Models.step(stack, manager, INPUT);
    stack.getParameters().forEach(pair -> pair.getValue().freeze(pair.getKey().endsWith("projection")));
    Map<String, float[]> some = Models.step(stack, manager, INPUT);
    assertThat(all.keySet()).anyMatch(name -> name.endsWith("projection"));
    all.keySet().removeIf(name -> name.endsWith("projection"));
    assertSame(some, all);
  }

  /** PyTorch keeps what its backward needs, but not for Java: memory behind an array that Java made ends with that array. */
  @Test
  void gradientsStayWhenTheCollectorRuns() throws InterruptedException {
    Map<String, float[]> expected = Models.step(stack(Models.config(Mode.MHC), 2, false, DType.FP32), manager, INPUT);
    Thread collecting = Thread.ofPlatform().daemon().start(HyperConnectionStackTest::collect);
    try {
      for (int i = 0; i < 20; i++) { // from the first gradient on
        assertSame(Models.step(stack(Models.config(Mode.MHC), 2, false, DType.FP32), manager, INPUT), expected);
      }
    } finally {
      collecting.interrupt();
      collecting.join();
    }
  }

  /** Frees memory that nothing in Java holds, and fills small pieces of it with something else. */
  private static void collect() {
    while (!Thread.currentThread().isInterrupted()) {
      System.gc();
      for (int i = 0; i < 2000; i++) {
        ByteBuffer.allocateDirect(Float.BYTES).order(ByteOrder.nativeOrder()).putFloat(0, 1e30f);
      }
    }
  }

  @Test
  void whatComesBeforeTheLayersMayWantAGradientOrNot() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 2, false, DType.FP32);
    float[] expected = Models.step(stack, manager, INPUT).get("input");
    NDArray weights = Models.random(manager, 2, 1, INPUT);
    NDArray half = Models.random(manager, 1, 0.5, INPUT);
    for (boolean wanted : new boolean[] {true, false}) {
      half.setRequiresGradient(wanted);
      try (GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
        NDArray y = stack.forward(new ParameterStore(manager, false), new NDList(half.add(half)), true).singletonOrThrow();
        collector.backward(y.mul(weights).sum());
      }
      if (wanted) {
        float[] actual = half.getGradient().toFloatArray();
        for (int i = 0; i < expected.length; i++) {
          assertThat(actual[i]).isCloseTo(2 * expected[i], within(1e-4f * Math.abs(expected[i]) + 1e-5f));
        }
      }
    }
  }

  @Test
  void gradientsAddUp() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 2, false, DType.FP32);
    float[] once = Models.step(stack, manager, INPUT).get("01layer0_bias");
    var store = new ParameterStore(manager, false);
    NDArray x = Models.random(manager, 1, 1, INPUT);
    NDArray weights = Models.random(manager, 2, 1, INPUT);
    try (GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
      for (int i = 0; i < 2; i++) {
        collector.backward(stack.forward(store, new NDList(x), true).singletonOrThrow().mul(weights).sum());
      }
    }
    float[] twice = stack.layers().get(0).getParameters().get("bias").getArray().getGradient().toFloatArray();
    for (int i = 0; i < once.length; i++) {
      assertThat(twice[i]).isCloseTo(2 * once[i], within(1e-4f * Math.abs(once[i]) + 1e-5f));
    }
  }

  @Test
  void saysWhereANaNBegan() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 4, false, DType.FP32);
    NDArray weight = stack.layers().get(2).function().getParameters().valueAt(0).getArray();
    weight.set(new ai.djl.ndarray.index.NDIndex("1, 1"), Float.NaN);
    GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector());
    try {
      stack.forward(new ParameterStore(manager, false), new NDList(Models.random(manager, 1, 1, INPUT)), true);
      assertThat(stack.firstNotFinite()).isEqualTo("layer 2, output of F");
    } finally {
      collector.close();
    }
  }

  @Test
  void wrongUse() {
    HyperConnectionStack stack = stack(Models.config(Mode.MHC), 2, false, DType.FP32);
    var store = new ParameterStore(manager, false);
    var input = new NDList(Models.random(manager, 1, 1, INPUT));
    assertThatThrownBy(() -> stack.forward(store, input, true)).isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("SegmentedGradientCollector");
    try (GradientCollector collector = SegmentedGradientCollector.over(manager.getEngine().newGradientCollector())) {
      stack.forward(store, input, true);
      assertThatThrownBy(() -> stack.forward(store, input, true)).isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("a backward has not come yet");
      assertThatThrownBy(() -> SegmentedGradientCollector.over(collector)).isInstanceOf(IllegalStateException.class);
    }
    Models.step(stack, manager, INPUT); // what was left behind is gone
    assertThatThrownBy(() -> HyperConnectionStack.builder(List.of())).hasMessageContaining("layers is empty");
    assertThatThrownBy(() -> HyperConnectionStack.builder(stack.layers()).optType(DType.FP16))
        .hasMessageContaining("type is FP16; expected FP32 or BF16");
    List<HyperConnectionBlock> mixed = List.of(stack.layers().get(0),
        Models.layers(device, Models.config(Mode.HC), 1, WIDTH).get(0));
    assertThatThrownBy(() -> HyperConnectionStack.builder(mixed).build()).hasMessageContaining("layers[1] has");
    assertThatThrownBy(() -> stack.layers().get(0).forward(store, new NDList(manager.ones(new Shape(3, 2, WIDTH))), false))
        .hasMessageContaining("[..., n, C] with n = 4");
    var half = new NDList(input.singletonOrThrow().toType(DataType.FLOAT16, false));
    assertThatThrownBy(() -> stack.forward(store, half, false)).hasMessageContaining("input is of float16; expected float32");
  }
}
