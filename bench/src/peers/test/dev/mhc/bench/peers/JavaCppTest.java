// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.mhc.bench.calls.CallCost;
import dev.mhc.bench.report.Comparison;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/** JavaCPP calls the library that everything else calls. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class JavaCppTest {
  private static final int TOKENS = 5;

  /** Linked against libmhc, it has to get the one that Java loads, even where it is the first to need it. */
  @Test
  @Order(1)
  void thereIsOneLibmhc() throws IOException {
    new JavaCpp().noArguments().accept(1);
    CallCost.noArguments(0.01);
    try (Stream<String> mapped = Files.lines(Path.of("/proc/self/maps"))) {
      assertThat(mapped.filter(line -> line.matches(".*/libmhc[.-][^/]*")).map(line -> line.replaceFirst(".*?/", "/")).distinct())
          .hasSize(1);
    }
  }

  @Test
  void javaCppIsAmongTheCallsAndAllocatesNothing() {
    for (Comparison calls : List.of(CallCost.noArguments(0.1), CallCost.boundary(TOKENS, 1, 0.1))) {
      assertThat(calls.entries()).filteredOn(entry -> entry.name().equals("JavaCPP")).singleElement()
          .satisfies(entry -> assertThat(entry.bytesPerCall()).isZero());
    }
  }

  @Test
  void aFailedCallThroughJavaCppIsNoResult() {
    assertThatIllegalStateException()
        .isThrownBy(() -> new JavaCpp().boundary(MemorySegment.NULL, MemorySegment.NULL).accept(1))
        .withMessage("status is 1; expected 0");
  }
}
