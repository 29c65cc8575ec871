// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.bench.Cost;
import java.util.List;

/**
 * What the machine needs at least, in the run that these belong to.
 *
 * @param copied time of a byte that a copy reads or writes, by the faster way to copy
 * @param read time of a byte that is read
 * @param multiplyAdd time of a multiply-add in fp32
 */
public record Rates(Interval copied, Interval read, Interval multiplyAdd) {
  /** From the limits that were measured on so many threads. */
  public static Rates of(List<Measurement> measurements, String threads) {
    Interval memcpy = one(measurements, threads, "limit.copy");
    Interval stream = one(measurements, threads, "limit.stream");
    return new Rates(memcpy.logMean() < stream.logMean() ? memcpy : stream, one(measurements, threads, "limit.read"),
        one(measurements, threads, "limit.multiplyAdds"));
  }

  private static Interval one(List<Measurement> measurements, String threads, String name) {
    Measurement limit = measurements.stream()
        .filter(m -> m.name().equals(name) && m.parameter("threads").equals(threads)).findFirst()
        .orElseThrow(() -> new IllegalArgumentException(
            "the results have no \"" + name + "\" of threads=" + threads + "; every run of the suite measures it"));
    return limit.time().times(1 / (limit.cost().bytes() + limit.cost().multiplyAdds()));
  }

  /** How long the bytes of a cost take at least: at the copy rate, or at the read rate where nothing is written. */
  public Interval bytes(Cost cost) {
    return (cost.onlyReads() ? read : copied).times(cost.bytes());
  }

  /** How long the multiply-adds of a cost take at least. */
  public Interval adds(Cost cost) {
    return multiplyAdd.times(cost.multiplyAdds());
  }

  /** The larger of both. */
  public Interval floor(Cost cost) {
    return bytes(cost).logMean() > adds(cost).logMean() ? bytes(cost) : adds(cost);
  }
}
