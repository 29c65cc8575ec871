// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import org.junit.jupiter.api.Test;

class LeaksTest {
  @Test
  void areReportedWithTheirPlaceOnRequest() throws Exception {
    assertThat(run("full")).contains("WARNING: leak: tensor [2, 3] FP32 became garbage without being closed",
        "created here", "dev.mhc.LeaksTest$Leaky.leak").doesNotContain("[4, 5]", "[6]", "[8]");
    assertThat(run("simple")).contains("leak: tensor [2, 3] FP32", "-Dmhc.leak.detection=full tells where")
        .doesNotContain("$Leaky.leak", "[4, 5]", "[6]", "[8]");
    assertThat(run("off")).doesNotContain("leak");
    assertThat(run("sometimes")).contains("mhc.leak.detection is \"sometimes\"; expected off, simple or full");
  }

  private static String run(String detection) throws IOException, InterruptedException {
    var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.leak.detection=" + detection)
        .classes(ChildJvm.testClasses()).runOnClassPath(Leaky.class.getName());
    assertThat(result.exitCode()).as(result.output()).isZero();
    return result.output();
  }

  /** Leaves one tensor unclosed, and some in ways that are right. */
  static final class Leaky {
    private Leaky() {}

    public static void main(String... arguments) throws InterruptedException {
      try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1))) {
        leak(device);
        device.tensor(DType.FP32, 4, 5).close();
        Tensor view = device.tensor(DType.FP32, 6).slice(0, 1, 2); // keeps what it is of
        Tensor.wrap(device, DType.FP32, java.lang.foreign.Arena.ofAuto().allocate(32), 8);
        for (int i = 0; i < 20; i++) {
          System.gc();
          Thread.sleep(10);
        }
        view.fill(1);
      }
    }

    private static void leak(Device device) {
      device.tensor(DType.FP32, 2, 3);
    }
  }
}
