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

  private static List<RecordedEvent> of(List<RecordedEvent> events, String name) {
    return events.stream().filter(e -> e.getEventType().getName().equals(name)).toList();
  }
}
