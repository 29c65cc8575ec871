// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.time.Duration;

/** One rank of a test under mpirun. Says what came of it in a line on standard output. */
final class MpiRank {
  private MpiRank() {}

  public static void main(String... arguments) throws InterruptedException {
    CommunicatorOptions options = CommunicatorOptions.DEFAULT.withTimeout(Duration.ofSeconds(
        arguments[0].equals("late") ? 4 : 60));
    try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
        Communicator communicator = Communicator.world(device, options)) {
      String result;
      try {
        run(arguments[0], communicator);
        result = "all is well";
      } catch (CommunicatorException e) {
        result = e.getMessage().replace('\n', ' ') + " | " + again(communicator) + " | "
            + communicator.asyncError().map(Throwable::getMessage).orElse("no error").replace('\n', ' ');
      }
      System.out.println("RANK " + communicator.rank() + "/" + communicator.ranks() + ": " + result);
      System.out.flush();
    }
  }

  private static void run(String what, Communicator communicator) throws InterruptedException {
    Device device = communicator.device();
    int rank = communicator.rank();
    Tensor x = device.tensor(DType.FP32, 1 << 20).fill(rank);
    switch (what) {
      case "collectives" -> new Collectives(communicator).run(1234, 0, 1, 7, 1000, 1 << 20);
      case "die" -> {
        communicator.allReduce(x, x, ReduceOp.SUM);
        if (rank == 2) {
          Runtime.getRuntime().halt(3); // in the middle: the others are in the next all-reduce, or on their way
        }
        communicator.allReduce(x, x, ReduceOp.SUM);
      }
      case "abort" -> {
        if (rank == 1) {
          communicator.abort();
        }
        communicator.allReduce(x, x, ReduceOp.SUM);
      }
      case "late" -> {
        if (rank == 3) {
          Thread.sleep(9000);
        } else {
          communicator.barrier();
        }
      }
      case "pipeline" -> Pipelines.assertSame(
          Pipelines.run(communicator, PipelineSchedule.oneForwardOneBackward(4, 6), Pipelines.BF16, 8),
          Pipelines.single(device, 8, 4, 6, 1, true));
      case "mismatch" -> communicator.broadcast(rank == 0 ? x : x.slice(0, 0, 1000 + rank), 0);
      default -> throw new IllegalArgumentException(what);
    }
  }

  private static String again(Communicator communicator) {
    try {
      communicator.barrier();
      return "usable";
    } catch (CommunicatorException e) {
      return "unusable";
    }
  }
}
