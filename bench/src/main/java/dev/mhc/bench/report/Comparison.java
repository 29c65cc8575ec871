// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.List;
import java.util.Map;

/**
 * Things that were measured in turns: in every round each of them once.
 *
 * @param kind what they are compared for, such as "calls"
 * @param title what they do
 * @param parameters of it
 * @param entries the first is what the others are compared with
 */
public record Comparison(String kind, String title, Map<String, String> parameters, List<Entry> entries) {
  /**
   * One of them.
   *
   * @param name of it
   * @param seconds of each round
   * @param bytesPerCall that the JVM allocates; null: not measured
   */
  public record Entry(String name, double[] seconds, Double bytesPerCall) {}
}
