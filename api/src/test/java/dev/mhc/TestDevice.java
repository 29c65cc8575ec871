// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The device that tests of what every device does run on: the CPU, or with {@code -Dmhc.test.device=cuda} the first GPU.
 * Without one that is the kernels on the CPU (MHC_CUDA_LIBRARY) and stand-ins for NVIDIA's libraries (mhc.nvidia.path).
 */
final class TestDevice {
  private TestDevice() {}

  static Device open() {
    return isCuda() ? cuda() : Device.cpu();
  }

  static boolean isCuda() {
    return System.getProperty("mhc.test.device", "cpu").equals("cuda");
  }

  static CudaDevice cuda() {
    String library = System.getenv("MHC_CUDA_LIBRARY");
    Need.of("executor", library == null || Files.exists(Path.of(library)), "the native tests, which this runs on, are not built");
    return Device.cuda(0);
  }

  /** A JVM of its own on the stand-ins that this one has, or on the GPU. */
  static ChildJvm standIns() {
    return new ChildJvm().options("--enable-native-access=ALL-UNNAMED",
        "-Dmhc.nvidia.path=" + System.getProperty("mhc.nvidia.path"), "-Dmhc.library.path=" + Native.library().path())
        .environment("MHC_CUDA_LIBRARY", System.getenv("MHC_CUDA_LIBRARY")).classes(ChildJvm.testClasses());
  }

  /** Leaves a test out whose ranks share a GPU, where NCCL refuses that. */
  static void needRanksOnOneGpu(Device device) {
    if (isGpu(device)) {
      int version = Nccl.version();
      assumeTrue(version >= 23000, "NCCL is " + version + "; several ranks on one GPU need 23000 or later");
    }
  }

  /** Whether a GPU computes, whose matrix units round in ways of their own: not the CPU, nor the stand-ins. */
  static boolean isGpu(Device device) {
    return device instanceof CudaDevice && !device.name().startsWith("executor");
  }
}
