// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EventsTest {
  @Test
  void areRecorded(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("events.jfr");
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1)); Recording recording = new Recording()) {
      recording.enable("dev.mhc.Operation").withoutThreshold();
      recording.enable("dev.mhc.TensorAllocate");
      recording.enable("dev.mhc.Copy").withoutThreshold();
      recording.start();
      Tensor x = device.tensor(DType.BF16, 3, 4, 8);
      x.copyFrom(new float[96]);
      Expand.forward(device.tensor(DType.BF16, 3, 8), x);
      recording.stop();
      recording.dump(file);
      List<RecordedEvent> events = RecordingFile.readAllEvents(file);
      assertThat(of(events, "dev.mhc.Operation")).singleElement().satisfies(e -> {
        assertThat(e.getString("operation")).isEqualTo("mhc_expand");
        assertThat(e.getString("device")).isEqualTo(device.name());
        assertThat(e.getLong("rows")).isEqualTo(3);
        assertThat(e.getInt("status")).isZero();
      });
      assertThat(of(events, "dev.mhc.TensorAllocate")).extracting(e -> e.getLong("bytes")).containsExactly(192L, 48L);
      assertThat(of(events, "dev.mhc.Copy")).singleElement().satisfies(e -> {
        assertThat(e.getLong("bytes")).isEqualTo(192);
        assertThat(e.getBoolean("intoTensor")).isTrue();
      });
    }
    assertThat(Files.exists(file)).isTrue();
  }

  /** What libmhc does not run has events too. */
  @Test
  void productsAndOptimiserSteps(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("events.jfr");
    try (Device device = TestDevice.open(); Recording recording = new Recording();
        Gemm gemm = Gemm.create(device, GemmConfig.of(DType.FP32, 3, 4, 5));
        Fp8Gemm fp8 = Fp8Gemm.create(device, Fp8GemmConfig.scaled(6, 4, 5, DType.FP32));
        Muon muon = Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), 7, 4)) {
      Tensor a = device.tensor(DType.FP32, 3, 5);
      Tensor b = device.tensor(DType.FP32, 5, 4);
      Tensor d = device.tensor(DType.FP32, 3, 4);
      Tensor one = device.tensor(DType.FP32, 1);
      Tensor matrix = device.tensor(DType.FP32, 7, 4);
      recording.enable("dev.mhc.Operation").withoutThreshold();
      recording.start();
      gemm.run(a, b, d);
      fp8.run(device.tensor(DType.FP8_E4M3, 6, 5), one, device.tensor(DType.FP8_E4M3, 4, 5), one, device.tensor(DType.FP32, 6, 4));
      muon.orthogonalize(matrix, matrix);
      muon.step(matrix, device.tensor(DType.FP32, 7, 4), device.tensor(DType.FP32, 7, 4), 1);
      recording.stop();
      recording.dump(file);
      assertThat(of(RecordingFile.readAllEvents(file), "dev.mhc.Operation"))
          .filteredOn(e -> !e.getString("operation").startsWith("mhc_"))
          .extracting(e -> e.getString("operation") + " " + e.getLong("rows") + " " + e.getString("device"))
          .containsExactly("gemm 3 " + device.name(), "fp8_gemm 6 " + device.name(), "muon_orthogonalize 7 " + device.name(),
              "muon_step 7 " + device.name());
    }
  }

  private static List<RecordedEvent> of(List<RecordedEvent> events, String name) {
    return events.stream().filter(e -> e.getEventType().getName().equals(name)).toList();
  }
}
