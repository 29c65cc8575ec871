// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Which shapes the suite measures. */
public enum Profile {
  /** What noise cannot change, for CI: results, bytes against the ledger, allocation, fused against unfused, Java against C. */
  SHORT,
  /** Every operation at two sizes, the boundary over T, C, n, threads and types, and stacks over layers: about 30 minutes. */
  STANDARD(
      Part.of("^(?!openBlas|stack)", "tokens=64,2048"),
      Part.of("^(gemm|openBlas)", "tokens=64,2048", "dtype=FP32"),
      Part.of("^stack", "tokens=512", "layers=1,2,4,8,16,32"),
      Part.of("^boundary\\.", "width=2048"),
      Part.of("^boundary\\.(forward|backward)$", "tokens=1,8,512,8192"),
      Part.of("^boundary\\.(forward|backward)$", "width=1280,4096,7168"),
      Part.of("^boundary\\.(forward|backward)$", "streams=1,2,8"),
      Part.of("^boundary\\.(forward|backward)$", "threads=" + fewerThreads()),
      Part.of("^boundary\\.(forward|backward)$", "dtype=FP32,FP16")),
  /** Everything by everything: a day. */
  FULL(Part.of("^(?!gemm|openBlas|fp8Gemm|muon|stack)", "tokens=1,64,2048,8192", "streams=2,4,8",
      "width=1280,2560,4096,7168", "dtype=BF16,FP16,FP32"),
      Part.of("^(gemm|fp8Gemm|muon)", "tokens=1,64,2048,8192", "width=1280,2560,4096,7168", "dtype=BF16,FP16,FP32"),
      Part.of("^openBlas", "tokens=1,64,2048,8192", "width=1280,2560,4096,7168", "dtype=FP32"),
      Part.of("^stack", "tokens=64,512", "width=2560,7168", "layers=1,2,4,8,16,32"),
      Part.of("^boundary", "threads=" + fewerThreads()));

  /**
   * Benchmarks and the parameters that they are run with, where those are not the default ones.
   *
   * @param names a regular expression that is found in the names of the benchmarks
   * @param parameters with their values
   */
  public record Part(String names, Map<String, String[]> parameters) {
    /** Parameters as "name=value,value". */
    static Part of(String names, String... parameters) {
      var parsed = new java.util.LinkedHashMap<String, String[]>();
      for (String each : parameters) {
        int equals = each.indexOf('=');
        parsed.put(each.substring(0, equals), each.substring(equals + 1).split(","));
      }
      return new Part(names, parsed);
    }

    /** The same with other values for some parameters. */
    Part with(Map<String, String> given) {
      var all = new java.util.LinkedHashMap<>(parameters);
      given.forEach((name, values) -> all.put(name, values.split(",")));
      return new Part(names, all);
    }
  }

  /** Its parts. */
  final List<Part> parts;

  /** 1, 2, 4 and so on, below all; 1 at least. */
  private static String fewerThreads() {
    return IntStream.iterate(1, count -> 2 * count)
        .takeWhile(count -> count == 1 || count < Runtime.getRuntime().availableProcessors()).mapToObj(String::valueOf)
        .collect(Collectors.joining(","));
  }

  Profile(Part... parts) {
    this.parts = Arrays.asList(parts);
  }
}
