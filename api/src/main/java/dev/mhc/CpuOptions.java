// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * How a CPU device is set up.
 *
 * @param threads native threads that share an operation, 1 to 1024; 0: as many as the process may use
 * @param tier vector code to run
 */
public record CpuOptions(int threads, CpuTier tier) {
  /** All threads that the process may use, best vector code. */
  public static final CpuOptions DEFAULT = new CpuOptions(0, CpuTier.AUTO);

  /** Checks the values; whether this CPU can run the tier is checked when the device is made. */
  public CpuOptions {
    Check.range("threads", threads, 0, 1024);
    Check.given("tier", tier, "a CpuTier");
  }

  /** These options with another number of threads. */
  public CpuOptions withThreads(int threads) {
    return new CpuOptions(threads, tier);
  }

  /** These options with another tier. */
  public CpuOptions withTier(CpuTier tier) {
    return new CpuOptions(threads, tier);
  }
}
