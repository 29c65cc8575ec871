// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.bench.Cost;
import dev.mhc.bench.TrainingMemory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** Results that nothing measured: a machine of so much speed, with noise between forks and between iterations. */
final class Samples {
  static final String BOUNDARY = "boundary.forward";

  private static final double FORKS = 0.01;
  private static final double ITERATIONS = 0.02;

  private Samples() {}

  /** Results of a machine, where a boundary takes so many times what it should. */
  static Results results(long seed, double machine, double boundary) {
    var random = new SplittableRandom(seed);
    var all = new ArrayList<Measurement>();
    all.add(measurement("limit.copy", Map.of("threads", "0"), new Cost(1e8, 1e8, 0, 0, 0), 8e-3 * machine, random));
    all.add(measurement("limit.stream", Map.of("threads", "0"), new Cost(1e8, 1e8, 0, 0, 0), 4e-3 * machine, random));
    all.add(measurement("limit.read", Map.of("threads", "0"), new Cost(1e8, 0, 0, 0, 0), 2e-3 * machine, random));
    all.add(measurement("limit.multiplyAdds", Map.of("threads", "0"), new Cost(0, 0, 0, 0, 1e9), 4e-3 * machine, random));
    for (int tokens : new int[] {64, 2048}) {
      double one = tokens * 2e-6;
      all.add(measurement(BOUNDARY, shape(tokens), new Cost(tokens * 25e3, tokens * 25e3, 0, 0, tokens * 3e5),
          one * machine * boundary, random));
      all.add(measurement("boundary.backward", shape(tokens), new Cost(tokens * 50e3, tokens * 25e3, 0, 0, tokens * 6e5),
          2 * one * machine, random));
      all.add(measurement("sinkhorn.forward", shape(tokens), new Cost(0, 0, tokens * 64, tokens * 64, tokens * 640),
          one / 50 * machine, random));
    }
    for (String name : new String[] {"gemm.run", "openBlas.sgemm", "muon.step"}) {
      all.add(measurement(name, shape(2048), Cost.matrices(2e7, 1e7, 1.3e10), 60e-3 * machine, random));
    }
    all.add(measurement("fp8Output.post", shape(2048), new Cost(4e7, 4e7, 2e5, 0, 1e8), 3e-3 * machine, random));
    all.add(measurement("boundaryNorm.forward", shape(2048), new Cost(5e7, 5e7, 0, 0, 6e8), 4e-3 * machine, random));
    for (int layers : new int[] {1, 2, 4}) {
      var stack = shape(512);
      stack.put("layers", String.valueOf(layers));
      all.add(measurement("stack.forward", stack, new Cost(layers * 13e6, layers * 13e6, 0, 0, layers * 1.5e8),
          layers * 1e-3 * machine, random));
      all.add(measurement("stack.forwardAndBackward", stack, new Cost(layers * 39e6, layers * 26e6, 0, 0, layers * 4.5e8),
          layers * 3e-3 * machine, random));
    }
    var calls = new Comparison("calls", "a <call>", Map.of("tokens", "1"), List.of(
        new Comparison.Entry("C", new double[] {1e-6, 1.1e-6, 1.2e-6}, null),
        new Comparison.Entry("Java", new double[] {1.1e-6, 1.2e-6, 1.3e-6}, 0.0)));
    var steps = List.of(new TrainingMemory.Step(1, false, 2e8, 2e8, 0.2), new TrainingMemory.Step(4, true, 1e8, 9e7, 0.25));
    var here = new Machine("CPU & co", 2, "plain", 1L << 34, "Linux", "Java", "C", "0", "abc", "2026-01-01", 0, 1);
    return new Results(here, all, List.of(calls), steps, List.of());
  }

  private static Map<String, String> shape(int tokens) {
    var shape = new LinkedHashMap<String, String>();
    shape.put("tokens", String.valueOf(tokens));
    shape.put("streams", "4");
    shape.put("width", "2560");
    shape.put("dtype", "BF16");
    shape.put("threads", "0");
    return shape;
  }

  private static Measurement measurement(String name, Map<String, String> parameters, Cost cost, double seconds,
      SplittableRandom random) {
    var forks = new double[3][4];
    for (double[] fork : forks) {
      double process = seconds * (1 + FORKS * random.nextGaussian());
      for (int i = 0; i < fork.length; i++) {
        fork[i] = process * (1 + ITERATIONS * random.nextGaussian());
      }
    }
    return new Measurement(name, parameters, forks, cost,
        cost.rowsRead() > 0 && !name.startsWith("limit") ? new Measurement.Ledger(10, 10) : null);
  }
}
