// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What is measured on a GPU, run on the CPU. */
class KernelsTest {
  /** Every operation of mhc.h by its name, as MHC_OP_ lists them. */
  private static List<String> operations() throws IOException {
    String header = Files.readString(Path.of("../native/include/mhc/mhc.h"));
    return Pattern.compile("MHC_OP_(\\w+) =").matcher(header).results().map(found -> found.group(1).toLowerCase(Locale.ROOT))
        .toList();
  }

  @Test
  void everyOperationIsMeasuredAndRuns() throws IOException {
    var names = new ArrayList<String>();
    try (Device device = Device.cpu()) {
      for (int round = 0; round < 2; round++) { // what one shape leaves, the next one does not meet
        long before = device.liveBytes();
        try (var kernels = new Kernels(device, 1, 5, 96)) {
          kernels.all().forEach((name, kernel) -> {
            assertThat(kernel.bytes()).as(name).isPositive();
            kernel.calls().run(3);
            names.add(name.replace("_8", ""));
          });
        }
        assertThat(device.liveBytes()).isEqualTo(before);
      }
      assertThat(names).containsAll(operations());
      assertThat(operations()).hasSize(22);
      try (var matrices = new Matrices(device, 64)) {
        matrices.all().values().forEach(kernel -> kernel.calls().run(2));
        assertThat(matrices.all()).containsOnlyKeys("sinkhorn_large", "sinkhorn_large_backward");
      }
    }
  }
}
