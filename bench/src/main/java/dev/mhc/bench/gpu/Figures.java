// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What one run measured, as it is in its file.
 *
 * @param copyGigabytesPerSecond of the device's memory to itself, read and written
 */
record Figures(Map<String, Object> machine, double copyGigabytesPerSecond, List<Row> rows) {
  /**
   * One operation of one shape.
   *
   * @param fraction of the copy bandwidth that the bytes it has to move were moved at
   * @param problem why it was not measured, instead
   */
  record Row(String operation, long tokens, long width, @Nullable Double microseconds, @Nullable Double least,
      @Nullable Double most, @Nullable Integer launches, @Nullable Long bytes, @Nullable Double gigabytesPerSecond,
      @Nullable Double fraction, @Nullable Double teraflops, @Nullable String problem) {}
}
