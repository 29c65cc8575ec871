// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.Device;
import dev.mhc.Tensor;
import dev.mhc.bench.Text;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class TrainingTest {
  @TempDir
  Path folder;

  private final Device device = Small.device();
  private final Corpus corpus = Small.corpus();

  @AfterEach
  void close() {
    device.close();
  }

  private Training start(Settings settings) {
    return Training.start(device, settings, corpus);
  }

  private static void steps(Training training, int count) {
    for (int i = 0; i < count; i++) {
      training.step();
    }
  }

  /** All that the optimiser has, in bits. */
  private static Map<String, byte[]> state(Training training) {
    var state = new LinkedHashMap<String, byte[]>();
    for (Learned each : training.learned()) {
      state.put(each.name, bits(each.value));
      state.put(each.name + ".momentum", bits(each.momentum));
      if (each.square != null) {
        state.put(each.name + ".square", bits(each.square));
      }
    }
    return state;
  }

  private static byte[] bits(Tensor tensor) {
    return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
  }

  private static void assertSame(Map<String, byte[]> actual, Map<String, byte[]> expected) {
    assertThat(actual.keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, bits) -> assertThat(Arrays.equals(actual.get(name), bits)).as(name).isTrue());
  }

  @ParameterizedTest
  @EnumSource
  void learns(Kind kind) {
    try (Training training = start(Small.settings(kind, 2))) {
      double first = training.check().loss();
      steps(training, 12);
      History.Check last = training.check();
      assertThat(first).isBetween(5.3, 5.8); // of 256 values nothing is known: ln 256 is 5.55
      assertThat(last.loss()).isLessThan(4);
      assertThat(last.forwardGain()).isBetween(0.5, 2.0);
    }
  }

  @ParameterizedTest
  @CsvSource({"RESIDUAL,FP32", "MHC,FP32", "HC,BF16", "MHC_LITE,BF16"})
  void goesOnBitForBit(Kind kind, Settings.Precision precision) throws IOException {
    Settings settings = Small.recomputed(Small.settings(kind, 2), precision);
    Map<String, byte[]> expected;
    double expectedLoss;
    try (Training whole = start(settings)) {
      steps(whole, 12);
      expected = state(whole);
      expectedLoss = whole.check().loss();
    }
    Path file;
    try (Training begun = start(settings)) {
      steps(begun, 5);
      begun.check();
      file = begun.save(folder);
    }
    try (Training resumed = Training.resume(device, file, corpus)) {
      assertThat(resumed.settings).isEqualTo(settings);
      assertThat(resumed.steps()).isEqualTo(5);
      assertThat(resumed.history().rows()).hasSize(5);
      assertThat(resumed.history().checks()).hasSize(1);
      steps(resumed, 7);
      assertSame(state(resumed), expected);
      assertThat(resumed.check().loss()).isEqualTo(expectedLoss);
    }
  }

  /** PyTorch keeps what its backward needs, but not for Java: memory behind an array that Java made ends with that array. */
  @ParameterizedTest
  @EnumSource
  void gradientsStayWhenTheCollectorRuns(Kind kind) throws InterruptedException {
    try (Training training = start(Small.settings(kind, 2))) {
      Map<String, byte[]> expected = gradients(training);
      Thread collecting = Thread.ofPlatform().daemon().start(TrainingTest::collect);
      try {
        for (int i = 0; i < 10; i++) {
          assertSame(gradients(training), expected);
        }
      } finally {
        collecting.interrupt();
        collecting.join();
      }
    }
  }

  private static Map<String, byte[]> gradients(Training training) {
    training.gradientsOnly();
    var gradients = new LinkedHashMap<String, byte[]>();
    for (Learned each : training.learned()) {
      gradients.put(each.name, bits(each.gradient()));
      each.clearGradient();
    }
    return gradients;
  }

  /** Frees memory that nothing in Java holds, and fills small pieces of it with something else. */
  private static void collect() {
    while (!Thread.currentThread().isInterrupted()) {
      System.gc();
      for (int i = 0; i < 2000; i++) {
        ByteBuffer.allocateDirect(Double.BYTES).order(ByteOrder.nativeOrder()).putDouble(0, 1e30);
      }
    }
  }

  @Test
  void damagedCheckpointsAreRefusedAndTheOneBeforeIsNamed() throws IOException {
    Path before;
    Path last;
    try (Training training = start(Small.settings(Kind.MHC, 1))) {
      steps(training, 1);
      training.save(folder);
      steps(training, 1);
      before = training.save(folder);
      steps(training, 1);
      last = training.save(folder);
    }
    try (var files = Files.list(folder)) {
      assertThat(files.toList()).containsExactlyInAnyOrder(before, last); // two are kept, and nothing half written
    }
    byte[] whole = Files.readAllBytes(last);
    refused(last, Arrays.copyOf(whole, 5), "cut short", before);
    refused(last, Arrays.copyOf(whole, 200), "cut short", before);
    refused(last, Arrays.copyOf(whole, whole.length - 4), "cut short", before);
    byte[] flipped = whole.clone();
    flipped[whole.length - 100] ^= 1;
    refused(last, flipped, "checksum", before);
    byte[] header = whole.clone();
    header[9] ^= 1;
    refused(last, header, "damaged", before);
    Files.write(last, whole);
    Training.resume(device, last, corpus).close();
    Training.resume(device, before, corpus).close();
  }

  private void refused(Path file, byte[] content, String reason, Path before) throws IOException {
    Files.write(file, content);
    assertThatThrownBy(() -> Training.resume(device, file, corpus)).isInstanceOf(IOException.class)
        .hasMessageContaining(file.toString()).hasMessageContaining(reason).hasMessageContaining(before.toString());
    assertThat(device.liveBytes()).isZero();
  }

  @Test
  void anotherTextIsRefused() throws IOException {
    Path file;
    try (Training training = start(Small.settings(Kind.MHC, 1))) {
      file = training.save(folder);
    }
    var other = new Corpus(new Text("other", new byte[4000]));
    assertThatThrownBy(() -> Training.resume(device, file, other)).hasMessageContaining("trained on another text, words");
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {"embedding|embedding", "position|position",
      "layer1_01function_up|layer 1, output of F", "layer2_normWeight|layer 2, input of F",
      "layer2_projection|layer 2, input of F", "head|loss"})
  void aNaNStopsTheRunWithItsPlace(String parameter, String place) {
    try (Training training = start(Small.settings(Kind.MHC, 2))) {
      steps(training, 2);
      Learned learned = learned(training, parameter);
      for (long i = 0; i < learned.value.dim(0); i++) {
        learned.value.set(Double.NaN, learned.value.rank() == 1 ? new long[] {i} : new long[] {i, 0});
      }
      Map<String, byte[]> before = state(training);
      assertThatThrownBy(training::step).isInstanceOf(NotFiniteException.class)
          .hasMessage("step 3: " + place + " holds a NaN or an infinity");
      assertSame(state(training), before);
      assertThat(training.steps()).isEqualTo(2);
    }
  }

  private static Learned learned(Training training, String end) {
    return training.learned().stream().filter(each -> each.name.endsWith(end)).findFirst().orElseThrow();
  }

  @Test
  void aGradientThatIsNotFiniteStopsTheRunToo() {
    try (Training training = start(Small.settings(Kind.MHC, 2))) {
      steps(training, 1);
      learned(training, "layer3_scale").gradient().set(Double.NaN, 0);
      assertThatThrownBy(training::step).hasMessageContaining("step 2: gradient of").hasMessageContaining("layer3_scale");
    }
  }

  @Test
  void memoryIsNearlyAsPlanned() {
    Settings settings = Small.settings(Kind.MHC, 12);
    Memory kept = Memory.measure(device, settings, false, corpus);
    Memory rebuilt = Memory.measure(device, settings, true, corpus);
    assertThat(rebuilt.measured()).isLessThan(kept.measured() / 2);
    for (Memory each : List.of(kept, rebuilt)) {
      assertThat(each.measured() / each.predicted()).isBetween(0.6, 1.3);
    }
  }

  @Test
  @Tag("slow")
  void nothingLeaks() {
    try (Training training = start(Small.recomputed(Small.settings(Kind.MHC, 1), Settings.Precision.BF16))) {
      long[] bytes = new long[2];
      int[] arrays = new int[2];
      long[] heap = new long[2];
      for (int i = 0; i <= 2000; i++) { // for the first thousand the JVM still settles
        training.gradientsOnly();
        training.learned().forEach(Learned::clearGradient);
        if (i > 0 && i % 1000 == 0) {
          bytes[i / 1000 - 1] = device.liveBytes();
          arrays[i / 1000 - 1] = training.arrays();
          heap[i / 1000 - 1] = heldHeap();
        }
      }
      assertThat(bytes[1]).isEqualTo(bytes[0]);
      assertThat(arrays[1]).isEqualTo(arrays[0]);
      assertThat(heap[1] - heap[0]).isLessThan(150_000); // a step that kept 150 bytes would show
    }
  }

  /** Bytes of the heap that something still holds. */
  private static long heldHeap() {
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 5; i++) {
      System.gc();
      least = Math.min(least, Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory());
    }
    return least;
  }
}
