// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.CpuOptions;
import dev.mhc.Device;

/** Devices by the name that a command line gives them. */
public final class Devices {
  private Devices() {}

  /**
   * Opens one.
   *
   * @param name "cpu": GPUs are measured otherwise, by {@link dev.mhc.bench.gpu.Main}
   * @param threads of the CPU; 0: as many as the process may use
   */
  public static Device open(String name, int threads) {
    if (!name.equals("cpu")) {
      throw new IllegalArgumentException("device is \"" + name + "\"; expected \"cpu\"");
    }
    return Device.cpu(CpuOptions.DEFAULT.withThreads(threads));
  }
}
