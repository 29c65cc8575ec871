// SPDX-License-Identifier: Apache-2.0
package dev.mhc.examples;

import dev.mhc.Communicator;
import dev.mhc.CommunicatorOptions;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.ReduceOp;
import dev.mhc.Tensor;

/** Processes that compute together, started by {@code mpirun -n 4} or {@code srun -n 4}. Alone, it is one rank. */
public final class Ranks {
  public static void main(String... arguments) {
    // @start region="ranks"
    try (Device device = Device.best(); // a GPU where there is one
        Communicator ranks = Communicator.world(device, CommunicatorOptions.DEFAULT);
        Tensor gradient = device.tensor(DType.BF16, 1 << 20).fill(ranks.rank() + 1)) { // yours
      ranks.allReduce(gradient, gradient, ReduceOp.AVERAGE); // the same bits on every rank
      System.out.println(ranks + ": " + gradient.get(0));
    }
    // @end
  }
}
