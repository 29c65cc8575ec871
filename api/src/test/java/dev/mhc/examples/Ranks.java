// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Communicator;
import dev.mhc.CommunicatorOptions;
import dev.mhc.CpuOptions;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.ReduceOp;
import dev.mhc.Tensor;

/** Several processes that compute together: {@code mpirun -n 4 java ... dev.mhc.examples.Ranks}. Alone, it is one rank. */
public final class Ranks {
  public static void main(String... arguments) {
    // @start region="ranks"
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
        Communicator ranks = Communicator.world(device, CommunicatorOptions.DEFAULT);
        Tensor gradient = device.tensor(DType.BF16, 1 << 20).fill(ranks.rank() + 1)) { // yours
      ranks.allReduce(gradient, gradient, ReduceOp.AVERAGE); // the same bits on every rank
      System.out.println(ranks + ": " + gradient.get(0));
    }
    // @end
  }
}
