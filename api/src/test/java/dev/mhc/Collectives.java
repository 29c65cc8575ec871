// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;

/** Every collective with every type and many sizes, checked on each rank; whatever carries the messages. */
final class Collectives {
  private static final DType[] TYPES = {DType.FP32, DType.BF16, DType.FP16, DType.FP8_E4M3, DType.INT32};

  private final Communicator communicator;
  private final Device device;
  private final int rank;
  private final int ranks;

  Collectives(Communicator communicator) {
    this.communicator = communicator;
    device = communicator.device();
    rank = communicator.rank();
    ranks = communicator.ranks();
  }

  /** Runs on each rank with the same seed. */
  void run(long seed, int... counts) {
    run(seed, TYPES, counts);
  }

  /** With elements of some types alone. */
  void run(long seed, DType[] types, int... counts) {
    for (DType type : types) {
      for (int count : counts) {
        for (ReduceOp op : count > 10_000 ? new ReduceOp[] {ReduceOp.SUM} : ReduceOp.values()) {
          if (combines(type, op)) {
            allReduce(seed, type, count, op);
            reduceScatter(seed, type, count / ranks, op);
          }
        }
        movement(seed, type, count);
      }
    }
    movement(seed, DType.E8M0, 100);
    communicator.barrier();
  }

  /** Whether ranks can: FP8 not with every GPU and NCCL. */
  private boolean combines(DType type, ReduceOp op) {
    return type == DType.FP8_E4M3 ? !(device instanceof CudaDevice gpu) || gpu.computeCapability() >= 90 && Nccl.version() >= 22400
        : type != DType.INT32 || op != ReduceOp.AVERAGE;
  }

  private void allReduce(long seed, DType type, int count, ReduceOp op) {
    Tensor expected = reduced(seed, type, count, op);
    try (Tensor dst = device.tensor(type, count); Tensor own = data(seed, type, count, rank)) {
      communicator.allReduce(own, dst, op);
      assertSame(dst, expected, "all-reduce " + op);
      communicator.allReduce(own, own, op);
      assertSame(own, expected, "all-reduce in place " + op);
    }
    expected.close();
  }

  private void reduceScatter(long seed, DType type, int part, ReduceOp op) {
    Tensor expected = reduced(seed, type, part * ranks, op);
    try (Tensor dst = device.tensor(type, part); Tensor own = data(seed, type, part * ranks, rank)) {
      communicator.reduceScatter(own, dst, op);
      Tensor mine = expected.slice(0, (long) part * rank, (long) part * (rank + 1));
      assertSame(dst, mine, "reduce-scatter " + op);
      Tensor place = own.slice(0, (long) part * rank, (long) part * (rank + 1));
      communicator.reduceScatter(own, place, op);
      assertSame(place, mine, "reduce-scatter in place " + op);
    }
    expected.close();
  }

  private void movement(long seed, DType type, int count) {
    int next = (rank + 1) % ranks;
    int last = (rank + ranks - 1) % ranks;
    try (Tensor own = data(seed, type, count, rank); Tensor all = device.tensor(type, ranks, count);
        Tensor other = device.tensor(type, count)) {
      communicator.allGather(own, all);
      for (int from = 0; from < ranks; from++) {
        try (Tensor expected = data(seed, type, count, from)) {
          assertSame(all.slice(0, from, from + 1), expected, "all-gather");
          Tensor given = from == rank ? own : other;
          communicator.broadcast(given, from);
          assertSame(given, expected, "broadcast");
        }
      }
      if (ranks > 1) {
        Communicator.group(() -> { // every rank sends first: without the group, none would ever receive
          communicator.send(own, next);
          communicator.receive(other, last);
        });
        try (Tensor expected = data(seed, type, count, last)) {
          assertSame(other, expected, "send and receive");
        }
      }
    }
  }

  private Tensor data(long seed, DType type, int count, int of) {
    var random = new Random(seed + 31L * of + type.ordinal());
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = switch (type) {
        case INT32 -> random.nextInt(1_000_000) - 500_000;
        case E8M0 -> Math.scalb(1.0, random.nextInt(200) - 100);
        default -> 100 * random.nextDouble() - 50;
      };
    }
    return device.tensor(type, count).copyFrom(values);
  }

  /** In the order of the ranks, in float32, rounded once. */
  private Tensor reduced(long seed, DType type, int count, ReduceOp op) {
    float[][] parts = new float[ranks][];
    for (int from = 0; from < ranks; from++) {
      try (Tensor part = data(seed, type, count, from)) {
        parts[from] = part.toFloats(); // integers this small are exact in float32, and so are their sums
      }
    }
    double[] result = new double[count];
    for (int i = 0; i < count; i++) {
      float value = parts[0][i];
      for (int from = 1; from < ranks; from++) {
        value = switch (op) {
          case SUM, AVERAGE -> value + parts[from][i];
          case MIN -> Math.min(value, parts[from][i]);
          case MAX -> Math.max(value, parts[from][i]);
        };
      }
      result[i] = op == ReduceOp.AVERAGE ? value / ranks : value;
    }
    return device.tensor(type, count).copyFrom(result);
  }

  private void assertSame(Tensor actual, Tensor expected, String what) {
    double[] values = actual.toDoubles();
    if (what.contains("reduce") && TestDevice.isGpu(device)) { // NCCL adds up in an order, and with a precision, of its own
      double[] near = expected.toDoubles();
      double unit = Products.rounding(actual.dtype() == DType.FP8_E4M3 ? DType.BF16 : actual.dtype());
      for (int i = 0; i < values.length; i++) {
        double off = 16 * unit * ranks * (actual.dtype() == DType.FP8_E4M3 ? 16 * 100 : 100);
        Products.assertClose(values[i], near[i], off, "rank " + rank + ", " + what);
      }
      return;
    }
    assertThat(values).as("rank %d, %s, %s", rank, what, actual).isEqualTo(expected.toDoubles());
  }
}
