// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Measures several things side by side: in every round each of them once, so that whatever else the machine does meets
 * all of them alike.
 */
public final class Rounds {
  /** Something that does its work once and says how many nanoseconds of it count. */
  @FunctionalInterface
  public interface Contestant {
    /** Nanoseconds. */
    long run();

    /** One whose whole work counts. */
    static Contestant of(Runnable work) {
      return () -> {
        long start = System.nanoTime();
        work.run();
        return System.nanoTime() - start;
      };
    }
  }

  private final Map<String, Contestant> contestants = new LinkedHashMap<>();

  /** Adds a contestant under a name. */
  public Rounds add(String name, Contestant contestant) {
    contestants.put(name, contestant);
    return this;
  }

  /**
   * Runs them.
   *
   * @param warmUp rounds that do not count
   * @param rounds rounds that do
   * @param seconds where the rounds would take longer than this, there are fewer of them, but at least three
   */
  public Map<String, Spread> run(int warmUp, int rounds, double seconds) {
    for (int i = 0; i < warmUp; i++) {
      contestants.values().forEach(Contestant::run);
    }
    var times = new LinkedHashMap<String, long[]>();
    contestants.keySet().forEach(name -> times.put(name, new long[rounds]));
    long start = System.nanoTime();
    int done = 0;
    while (done < rounds && (done < 3 || (System.nanoTime() - start) * 1e-9 < seconds)) {
      int round = done++;
      contestants.forEach((name, contestant) -> times.get(name)[round] = contestant.run());
    }
    int measured = done;
    var spreads = new LinkedHashMap<String, Spread>();
    times.forEach((name, nanos) -> spreads.put(name, Spread.ofNanos(java.util.Arrays.copyOf(nanos, measured))));
    return spreads;
  }
}
