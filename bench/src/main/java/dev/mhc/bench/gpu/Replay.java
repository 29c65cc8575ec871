// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.Device;
import dev.mhc.Event;
import dev.mhc.Graph;
import dev.mhc.MhcException;
import dev.mhc.Stream;
import java.util.Arrays;

/**
 * Times what is put on a GPU's stream by events around replays of a graph, so that neither Java nor the driver's launches are
 * in it.
 */
final class Replay {
  private static final int ROUNDS = 11;
  private static final double ENOUGH = 3; // milliseconds between two events, at least

  /**
   * What one call of it takes.
   *
   * @param median in microseconds
   * @param least of all rounds
   * @param most of all rounds
   * @param launches kernels and copies of one call
   */
  record Time(double median, double least, double most, int launches) {}

  private Replay() {}

  /** calls: runs it that many times, on operands that it rotates. */
  interface Calls {
    void run(int count);
  }

  /**
   * Times it.
   *
   * @throws MhcException if the device does not have an operation
   */
  static Time time(Device device, Calls calls) {
    calls.run(1); // allocates and chooses what it has to
    int launches;
    try (Graph one = Graph.capture(device, () -> calls.run(1))) {
      launches = one.size();
    }
    int count = 1;
    while (true) {
      int now = count;
      try (Graph graph = Graph.capture(device, () -> calls.run(now))) {
        double once = replay(device, graph);
        if (once >= ENOUGH || count >= 512) {
          double[] times = new double[ROUNDS];
          for (int i = 0; i < ROUNDS; i++) {
            times[i] = 1000 * replay(device, graph) / count;
          }
          Arrays.sort(times);
          return new Time(times[ROUNDS / 2], times[0], times[ROUNDS - 1], launches);
        }
        count = (int) Math.min(512, Math.max(2L * count, Math.ceil(1.2 * ENOUGH / Math.max(once, 1e-3) * count)));
      }
    }
  }

  private static double replay(Device device, Graph graph) {
    Stream stream = device.stream();
    try (Event start = stream.record()) {
      graph.launch();
      try (Event end = stream.record()) {
        return end.millisecondsSince(start);
      }
    }
  }
}
