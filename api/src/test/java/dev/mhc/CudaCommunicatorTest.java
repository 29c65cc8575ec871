// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.mhc.CommunicatorException.Reason;
import dev.mhc.bindings.generated.nccl.nccl_h;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Ranks on one GPU, which NCCL has to be allowed: NCCL_MULTI_RANK_GPU_ENABLE=1. Each is a thread with a device of its own. */
@EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
class CudaCommunicatorTest {
  private interface Work {
    void run(Communicator communicator) throws Exception;
  }

  private static void run(int ranks, CommunicatorOptions options, Work work) throws Exception {
    try (Device naming = TestDevice.cuda(); var pool = Executors.newFixedThreadPool(ranks)) {
      if (ranks > 1) {
        TestDevice.needRanksOnOneGpu(naming);
      }
      UniqueId id = Communicator.uniqueId(naming);
      List<Future<Void>> results = pool.invokeAll(IntStream.range(0, ranks).<Callable<Void>>mapToObj(rank -> () -> {
        try (Device device = TestDevice.cuda();
            Communicator communicator = Communicator.init(device, id, ranks, rank, options)) {
          work.run(communicator);
        }
        return null;
      }).toList());
      for (Future<Void> result : results) {
        result.get();
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 4})
  void everyCollective(int ranks) throws Exception {
    long seed = new Random().nextLong();
    run(ranks, CommunicatorOptions.DEFAULT, communicator -> {
      assertThat(communicator.ranks()).isEqualTo(ranks);
      new Collectives(communicator).run(seed, 0, 1, 7, 300);
    });
  }

  @Test
  void manyElements() throws Exception {
    run(4, CommunicatorOptions.DEFAULT,
        communicator -> new Collectives(communicator).run(1, new DType[] {DType.FP32}, 1 << 20));
  }

  @Test
  void groupOfAllRanksInOneThread() {
    List<Device> devices = List.of(TestDevice.cuda(), TestDevice.cuda(), TestDevice.cuda());
    TestDevice.needRanksOnOneGpu(devices.get(0));
    List<Communicator> ranks = Communicator.initAll(devices);
    Tensor[] x = new Tensor[3];
    Tensor[] y = new Tensor[3];
    for (int rank = 0; rank < 3; rank++) {
      x[rank] = devices.get(rank).tensor(DType.FP32, 5).fill(rank + 1);
      y[rank] = devices.get(rank).tensor(DType.FP32, 5);
    }
    for (int round = 1; round <= 3; round++) { // each waits for what the one before left in its device's stream
      Communicator.group(() -> {
        for (int rank = 0; rank < 3; rank++) {
          ranks.get(rank).allReduce(x[rank], x[rank], ReduceOp.SUM);
        }
      });
      Communicator.group(() -> {
        for (int rank = 0; rank < 3; rank++) {
          ranks.get(rank).send(x[rank], (rank + 1) % 3);
          ranks.get(rank).receive(y[rank], (rank + 2) % 3);
        }
      });
      for (int rank = 0; rank < 3; rank++) {
        assertThat(x[rank].toDoubles()).containsOnly(6 * Math.pow(3, round - 1));
        assertThat(y[rank].toDoubles()).isEqualTo(x[rank].toDoubles());
      }
    }
    ranks.forEach(Communicator::close);
    devices.forEach(Device::close);
  }

  /** The ranks have met before: the call returns, and what waits on the GPU ends. */
  @Test
  void aRankThatDoesNotComeEndsTheOthersWait() throws Exception {
    run(2, CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(400)), communicator -> {
      Device device = communicator.device();
      communicator.barrier();
      if (communicator.rank() == 0) {
        Tensor x = device.tensor(DType.FP32, 3);
        communicator.allReduce(x, x, ReduceOp.SUM);
        device.synchronize(); // until the watch ends it
        assertThat(communicator.asyncError()).get().isInstanceOf(CommunicatorException.class);
        var e = catchThrowableOfType(CommunicatorException.class, () -> communicator.allReduce(x, x, ReduceOp.SUM));
        assertThat(e.reason()).isEqualTo(Reason.TIMEOUT);
        assertThat(e).hasMessageContaining("rank 0, [all-reduce]: waited PT0.4S for the other ranks");
        assertThat(x.fill(2).toDoubles()).as("the device goes on").containsOnly(2);
      } else {
        Thread.sleep(1500);
        assertThat(communicator.asyncError()).get().asString().contains("rank 0 has failed: TIMEOUT");
      }
    });
  }

  /** When ranks first meet, NCCL makes the call itself wait. */
  @Test
  void aRankThatNeverComesEndsTheFirstCall() throws Exception {
    run(2, CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(400)), communicator -> {
      Device device = communicator.device();
      if (communicator.rank() == 0) {
        Tensor x = device.tensor(DType.FP32, 3);
        var e = catchThrowableOfType(CommunicatorException.class, () -> {
          communicator.receive(x, 1);
          device.synchronize(); // where the call does not wait
          communicator.receive(x, 1);
        });
        assertThat(e.reason()).isEqualTo(Reason.TIMEOUT);
        assertThat(e).hasMessageContaining("rank 0, [receive]: waited PT0.4S for the other ranks");
        assertThat(x.fill(2).toDoubles()).as("the device goes on").containsOnly(2);
        x.close();
        assertThat(device.liveBytes()).as("nothing holds the tensor").isZero();
      } else {
        Thread.sleep(1500);
      }
    });
  }

  /** Of a group in which a call fails nothing is begun: the other ranks' part of it does not change a tensor. */
  @Test
  void aGroupWithACallThatFailsBeginsNothing() {
    List<Device> devices = List.of(TestDevice.cuda(), TestDevice.cuda());
    TestDevice.needRanksOnOneGpu(devices.get(0));
    List<Communicator> ranks = Communicator.initAll(devices);
    Tensor x = devices.get(0).tensor(DType.FP32, 4).fill(1);
    Tensor y = devices.get(1).tensor(DType.FP32, 4).fill(2);
    CudaCommunicator first = (CudaCommunicator) ranks.get(0).work;
    CudaCommunicator second = (CudaCommunicator) ranks.get(1).work;
    List.of(x, y, x).forEach(tensor -> tensor.storage().export());
    var send = new CudaCommunicator.Part(first, "send", (comm, stream) -> nccl_h.ncclSend(x.memory(), 4,
        nccl_h.ncclFloat32(), 1, comm, stream), x);
    var receive = new CudaCommunicator.Part(second, "receive", (comm, stream) -> nccl_h.ncclRecv(y.memory(), 4,
        nccl_h.ncclFloat32(), 0, comm, stream), y);
    var broken = new CudaCommunicator.Part(first, "broken", (comm, stream) -> {
      throw new IllegalStateException("in the middle");
    }, x);
    assertThatIllegalStateException().isThrownBy(() -> CudaCommunicator.launch(List.of(send, receive, broken)))
        .withMessage("in the middle");
    assertThat(y.toDoubles()).containsOnly(2);
    ranks.forEach(Communicator::close);
    devices.forEach(Device::close);
  }

  @Test
  void abort() throws Exception {
    run(2, CommunicatorOptions.DEFAULT, communicator -> {
      Tensor x = communicator.device().tensor(DType.FP32, 3);
      if (communicator.rank() == 0) {
        Thread.ofPlatform().start(communicator::abort);
        var e = catchThrowableOfType(CommunicatorException.class, () -> {
          communicator.receive(x, 1); // waits, where ranks meet for the first time
          communicator.device().synchronize();
          communicator.barrier();
        });
        assertThat(e.reason()).isEqualTo(Reason.ABORTED);
      } else {
        Thread.sleep(300);
        communicator.abort();
        assertThatIllegalStateExceptionOrFailure(communicator);
      }
    });
  }

  private static void assertThatIllegalStateExceptionOrFailure(Communicator communicator) {
    assertThat(communicator.asyncError()).isPresent();
    assertThat(catchThrowableOfType(MhcException.class, communicator::barrier)).isNotNull();
  }

  @Test
  void notAllJoin() {
    try (Device device = TestDevice.cuda()) {
      UniqueId id = UniqueId.of(Communicator.uniqueId(device).bytes());
      var e = catchThrowableOfType(CommunicatorException.class, () -> Communicator.init(device, id, 2, 0,
          CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(100))));
      assertThat(e.reason()).isEqualTo(Reason.TIMEOUT);
      assertThat(e).hasMessageContaining("waited PT0.1S for 2 ranks to join");
      assertThatIllegalArgumentException().isThrownBy(() -> Communicator.init(device, Communicator.uniqueId(), 1, 0,
          CommunicatorOptions.DEFAULT)).withMessageContaining("for ranks on CPUs; expected one from Communicator.uniqueId(device)");
    }
  }

  /** A rank that others wait for no more leaves nothing behind when they come at last, and tells them. */
  @Test
  void aRankThatJoinsTooLate() throws Exception {
    StandIn.require();
    int before = StandIn.communicators();
    try (Device device = TestDevice.cuda(); Device other = TestDevice.cuda()) {
      UniqueId id = Communicator.uniqueId(device);
      catchThrowableOfType(CommunicatorException.class, () -> Communicator.init(device, id, 2, 0,
          CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(100))));
      try (Communicator late = Communicator.init(other, id, 2, 1, CommunicatorOptions.DEFAULT)) {
        var e = catchThrowableOfType(CommunicatorException.class, () -> {
          late.barrier();
          late.barrier();
        });
        assertThat(e.reason()).isEqualTo(Reason.RANK_ENDED);
        assertThat(e.getCause()).as("NCCL's word for it").hasStackTraceContaining("ncclRemoteError");
      }
      assertThat(StandIn.communicators()).isEqualTo(before);
    }
  }

  /** In a JVM of its own: FP8 is moved, and combined or refused; and the ranks go on. */
  static final class Fp8Ranks {
    public static void main(String... arguments) {
      List<Device> devices = List.of(Device.cuda(0), Device.cuda(0));
      List<Communicator> ranks = Communicator.initAll(devices);
      List<Tensor> parts = devices.stream().map(device -> device.tensor(DType.FP8_E4M3, 2).fill(3)).toList();
      List<Tensor> wholes = devices.stream().map(device -> device.tensor(DType.FP8_E4M3, 4)).toList();
      Communicator.group(() -> both(rank -> ranks.get(rank).allGather(parts.get(rank), wholes.get(rank))));
      Communicator.group(() -> {
        ranks.get(0).send(wholes.get(0).slice(0, 0, 2), 1);
        ranks.get(1).receive(parts.get(1).fill(0), 0);
        both(rank -> ranks.get(rank).broadcast(wholes.get(rank), 1));
      });
      System.out.println("moved " + wholes.get(0).get(3) + " " + parts.get(1).get(1));
      both(rank -> System.out.println(said(() -> ranks.get(rank).allReduce(parts.get(rank), parts.get(rank), ReduceOp.SUM))));
      both(rank -> System.out.println(said(() -> ranks.get(rank).reduceScatter(wholes.get(rank), parts.get(rank),
          ReduceOp.MAX))));
      List<Tensor> others = devices.stream().map(device -> device.tensor(DType.BF16, 2).fill(3)).toList();
      Communicator.group(() -> both(rank -> ranks.get(rank).allReduce(others.get(rank), others.get(rank), ReduceOp.SUM)));
      System.out.println("then " + others.get(1).get(1) + " " + ranks.get(0).asyncError().isPresent());
      ranks.forEach(Communicator::close);
      devices.forEach(Device::close);
    }

    private static void both(IntConsumer call) {
      call.accept(0);
      call.accept(1);
    }

    private static String said(Runnable call) {
      try {
        call.run();
        return "begun";
      } catch (NcclException e) {
        return e.getMessage();
      }
    }
  }

  /** NCCL of CUDA 12's time has no FP8, and older GPUs do not combine it: both are known before NCCL is called. */
  @ParameterizedTest
  @CsvSource({"22304, 90, 'NCCL 2.23.4 does not combine FP8, which came with 2.24', install a newer NCCL",
      "23007, 89, 'NCCL combines FP8 from compute capability 9.0, and this GPU''s is 8.9', combine BF16"})
  void fp8WhereItIsNotCombined(int version, int capability, String text, String hint) throws Exception {
    try (Device device = TestDevice.cuda()) {
      assumeFalse(TestDevice.isGpu(device), "a GPU has its own NCCL");
    }
    var result = TestDevice.standIns().environment("MHC_STAND_IN_NCCL", String.valueOf(version))
        .environment("MHC_STAND_IN_CAPABILITY", String.valueOf(capability))
        .runOnClassPath("dev.mhc.CudaCommunicatorTest$Fp8Ranks");
    assertThat(result.output()).contains("moved 3.0 3.0", "ncclInvalidArgument: ncclAllReduce: " + text,
        "ncclInvalidArgument: ncclReduceScatter: " + text, "Hint: " + hint, "then 6.0 false");
  }

  @Test
  void wrongDevices() {
    try (Device device = TestDevice.cuda(); Device cpu = Device.cpu()) {
      assertThatIllegalArgumentException().isThrownBy(() -> Communicator.initAll(List.of(device, device)))
          .withMessageContaining("expected a Device of its own for each rank");
      assertThatIllegalArgumentException().isThrownBy(() -> Communicator.initAll(List.of(device, cpu)))
          .withMessageContaining("expected devices of one kind");
    }
  }

  @Test
  void aloneItIsTheWorld() {
    try (Device device = TestDevice.cuda(); Communicator world = Communicator.world(device, CommunicatorOptions.DEFAULT)) {
      assertThat(world.ranks()).isEqualTo(1);
      new Collectives(world).run(1, 10);
    }
  }

  @Test
  void closing() {
    Device device = TestDevice.cuda();
    Communicator left;
    try (Communicator rank = Communicator.initAll(List.of(device)).get(0)) {
      Tensor x = device.tensor(DType.FP32, 4).fill(1);
      rank.allReduce(x, x, ReduceOp.SUM);
      assertThat(x.toDoubles()).containsOnly(1);
      left = rank;
    }
    left.close();
    assertThat(left.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(left::barrier).withMessage("the communicator is closed");
    Communicator owned = Communicator.initAll(List.of(device)).get(0);
    owned.barrier();
    device.close();
    assertThat(owned.isClosed()).isTrue();
    var failures = new ArrayList<MhcException>();
    owned.asyncError().ifPresent(failures::add);
    assertThat(failures).isEmpty();
  }
}
