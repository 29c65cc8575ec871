// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.calls;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StartUpTest {
  @TempDir
  Path folder;

  @Test
  void otherLibrariesAreNotOnThePath() throws IOException {
    Path all = folder.resolve("all.jar");
    try (var jar = new ZipOutputStream(Files.newOutputStream(all))) {
      for (String name : new String[] {"META-INF/MANIFEST.MF", "META-INF/native/linux-x86_64/libmhc.so", "org/other/A.class",
          "dev/", "dev/mhc/Device.class", "dev/mhcs/B.class"}) {
        jar.putNextEntry(new ZipEntry(name));
        jar.write(name.getBytes());
      }
    }
    try (var own = new ZipFile(StartUp.own(all.toString(), folder))) {
      assertThat(own.stream().map(ZipEntry::getName))
          .containsExactly("META-INF/native/linux-x86_64/libmhc.so", "dev/mhc/Device.class");
      assertThat(own.getInputStream(own.getEntry("dev/mhc/Device.class"))).hasContent("dev/mhc/Device.class");
    }
  }

  @Test
  void aPathThatIsNoJarStays() throws IOException {
    for (String path : new String[] {"target/classes", "a.jar" + File.pathSeparator + "b.jar"}) {
      assertThat(StartUp.own(path, folder)).isEqualTo(path);
    }
  }
}
