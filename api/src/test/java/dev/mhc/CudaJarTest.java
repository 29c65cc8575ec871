// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.mhc.bindings.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/** libmhc_cuda in a jar of its own is found where libmhc comes out of a jar too. */
class CudaJarTest {
  @TempDir
  private Path directory;

  /** In a JVM of its own: libmhc looks for libmhc_cuda once. */
  static final class Count {
    public static void main(String... arguments) {
      System.out.println(Device.count(DeviceType.CUDA) + " GPUs");
      try (CudaDevice device = Device.cuda(0)) {
        System.out.println("works: " + device.tensor(DType.FP32, 2).fill(3).get(1));
      } catch (MhcException e) {
        System.out.println(e.getMessage());
      }
    }
  }

  @Test
  @EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  void isUnpackedBesideLibmhc() throws Exception {
    try (CudaDevice device = TestDevice.cuda()) {
      assumeFalse(TestDevice.isGpu(device), "libmhc_cuda has been unpacked by hand");
    }
    Path cache = directory.resolve("cache");
    Path library = Path.of(System.getenv("MHC_CUDA_LIBRARY"));
    Path jar = directory.resolve("jar");
    Path resource = jar.resolve("META-INF/native/" + NativeLibrary.platform() + "/libmhc_cuda.so");
    Files.createDirectories(resource.getParent());
    Files.copy(library, resource);
    var without = child(cache).runOnClassPath(Count.class.getName());
    assertThat(without.output()).contains("0 GPUs", "Put libmhc_cuda.so beside libmhc.so");
    var with = child(cache).classes(jar).runOnClassPath(Count.class.getName());
    assertThat(with.output()).contains("1 GPUs", "works: 3.0");
    Path unpacked = only(cache);
    assertThat(unpacked.resolveSibling("libmhc.so")).exists();
    Files.writeString(unpacked, "of an older version, or damaged");
    assertThat(child(cache).classes(jar).runOnClassPath(Count.class.getName()).output()).contains("1 GPUs");
    assertThat(Files.mismatch(only(cache), library)).isEqualTo(-1);
  }

  private static ChildJvm child(Path cache) {
    String nvidia = System.getProperty("mhc.nvidia.path");
    return new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.nvidia.path=" + nvidia,
        "-Dmhc.cache.dir=" + cache).environment("MHC_CUDA_LIBRARY", "").environment("LD_LIBRARY_PATH", nvidia)
        .classes(ChildJvm.testClasses());
  }

  private static Path only(Path cache) throws IOException {
    try (var files = Files.walk(cache)) {
      return files.filter(file -> file.endsWith("libmhc_cuda.so")).findFirst().orElseThrow();
    }
  }
}
