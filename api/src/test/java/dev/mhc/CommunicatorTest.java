// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.mhc.CommunicatorException.Reason;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ranks that are threads of this process. */
class CommunicatorTest {
  private static Device device;

  @BeforeAll
  static void open() {
    device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  @AfterAll
  static void close() {
    device.close();
  }

  private interface Work {
    void run(Communicator communicator) throws Exception;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void everyCollective(int ranks) throws Exception {
    long seed = new Random().nextLong();
    List<Throwable> failures = run(ranks, CommunicatorOptions.DEFAULT,
        communicator -> new Collectives(communicator).run(seed, 0, 1, 7, 1000, ranks == 4 ? 1 << 18 : 5001));
    assertThat(failures).as("seed %d", seed).containsOnlyNulls();
  }

  @Test
  void groupOfAllRanksInOneThread() {
    List<Communicator> ranks = Communicator.initAll(List.of(device, device, device));
    Tensor[] x = new Tensor[3];
    Tensor[] y = new Tensor[3];
    for (int rank = 0; rank < 3; rank++) {
      x[rank] = device.tensor(DType.FP32, 5).fill(rank + 1);
      y[rank] = device.tensor(DType.FP32, 5);
    }
    Communicator.group(() -> {
      for (int rank = 0; rank < 3; rank++) {
        ranks.get(rank).allReduce(x[rank], x[rank], ReduceOp.SUM);
        ranks.get(rank).send(x[rank], (rank + 1) % 3);
        ranks.get(rank).receive(y[rank], (rank + 2) % 3);
      }
    });
    for (int rank = 0; rank < 3; rank++) {
      assertThat(x[rank].toDoubles()).containsOnly(6);
      assertThat(y[rank].toDoubles()).containsOnly(6);
    }
    ranks.forEach(Communicator::close);
  }

  @Test
  void anExceptionInAGroupDropsIt() {
    List<Communicator> ranks = Communicator.initAll(List.of(device, device));
    Tensor x = device.tensor(DType.FP32, 5);
    long live = device.liveBytes();
    assertThatIllegalArgumentException().isThrownBy(() -> Communicator.group(() -> {
      ranks.get(0).send(x, 1);
      ranks.get(0).send(x, 2);
    })).withMessage("peer is 2; expected 0 to 1");
    x.close();
    assertThat(device.liveBytes()).as("the group lets its tensors go").isEqualTo(live - 20);
    assertThat(ranks.get(0).asyncError()).isEmpty();
    ranks.forEach(Communicator::close);
  }

  /** Closing a tensor that is being sent leaves its memory until it was sent. */
  @Test
  void tensorsStayWhileTheyAreUnderWay() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT, communicator -> {
      Tensor x = device.tensor(DType.FP32, 100_000).fill(communicator.rank() + 1);
      if (communicator.rank() == 0) {
        Thread closer = Thread.ofPlatform().start(x::close); // before, while or after it is sent
        Throwable early = catchThrowable(() -> communicator.send(x, 1));
        closer.join();
        if (early != null) { // closed before: then the other rank is owed a message
          assertThat(early).isInstanceOf(IllegalStateException.class);
          communicator.send(device.tensor(DType.FP32, 100_000).fill(1), 1);
        }
      } else {
        Thread.sleep(20);
        communicator.receive(x, 0);
        assertThat(x.toDoubles()).containsOnly(1);
      }
    });
    assertThat(failures).containsOnlyNulls();
  }

  @Test
  void aRankThatClosesGivesTheOthersAnError() throws Exception {
    List<Throwable> failures = run(3, CommunicatorOptions.DEFAULT, communicator -> {
      if (communicator.rank() != 1) {
        communicator.barrier();
      }
    });
    assertThat(failures.get(1)).isNull();
    assertThat(List.of(failures.get(0), failures.get(2))).allSatisfy(e -> assertFailure(e, Reason.RANK_ENDED,
        "has closed its communicator"));
  }

  @Test
  void whatARankSentBeforeItClosedArrives() throws Exception {
    List<Throwable> failures = run(3, CommunicatorOptions.DEFAULT, communicator -> {
      Tensor x = device.tensor(DType.FP32, 3).fill(communicator.rank());
      communicator.broadcast(x, 0);
      assertThat(x.toDoubles()).containsOnly(0);
    });
    assertThat(failures).containsOnlyNulls();
  }

  @Test
  void timeout() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(200)), communicator -> {
      if (communicator.rank() == 0) {
        communicator.receive(device.tensor(DType.FP32, 3), 1);
      } else {
        Thread.sleep(1500);
        assertThat(communicator.asyncError()).isPresent();
        communicator.send(device.tensor(DType.FP32, 3), 0);
      }
    });
    assertFailure(failures.get(0), Reason.TIMEOUT, "rank 0, receive: waited PT0.2S for rank 1");
    assertFailure(failures.get(1), Reason.RANK_ENDED, "rank 0 has closed its communicator");
  }

  @Test
  void abortFromAnotherThread() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT, communicator -> {
      if (communicator.rank() == 0) {
        Thread.ofPlatform().start(() -> {
          sleep(100);
          communicator.abort();
        });
      }
      communicator.receive(device.tensor(DType.FP32, 3), 1 - communicator.rank());
    });
    assertThat(failures).allSatisfy(e -> assertFailure(e, Reason.ABORTED, "rank 0 has aborted"));
  }

  @Test
  void interrupt() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT, communicator -> {
      if (communicator.rank() == 0) {
        Thread waiting = Thread.currentThread();
        Thread.ofPlatform().start(() -> {
          sleep(100);
          waiting.interrupt();
        });
        communicator.receive(device.tensor(DType.FP32, 3), 1);
      }
    });
    // rank 1 closed at once, so either may be seen first
    assertThat(failures.get(0)).isInstanceOf(CommunicatorException.class);
    assertThat(failures.get(1)).isNull();
  }

  @Test
  void mismatch() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT, communicator -> communicator
        .broadcast(device.tensor(DType.FP32, 3 + communicator.rank()), 0));
    assertFailure(failures.get(0), Reason.MISMATCH, "12 bytes went where 16 were expected");
    assertFailure(failures.get(1), Reason.MISMATCH, "12 bytes came where 16 were expected");
    assertThat(failures.get(1)).hasMessageContaining("Hint: see to it that all ranks call the same operations");
  }

  @Test
  void aFailedCommunicatorStaysFailed() throws Exception {
    List<Throwable> failures = run(2, CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(100)), communicator -> {
      if (communicator.rank() == 0) {
        var first = catchThrowableOfType(CommunicatorException.class, communicator::barrier);
        var again = catchThrowableOfType(CommunicatorException.class, communicator::barrier);
        assertThat(again).hasCause(first).hasMessageContaining("the communicator failed before: TIMEOUT: rank 0, barrier");
        assertThat(again.reason()).isEqualTo(Reason.TIMEOUT);
        assertThat(communicator.asyncError()).contains(first);
      } else {
        Thread.sleep(1000);
      }
    });
    assertThat(failures).containsOnlyNulls();
  }

  @Test
  void notAllJoin() {
    UniqueId id = UniqueId.of(Communicator.uniqueId().bytes());
    var e = catchThrowableOfType(CommunicatorException.class, () -> Communicator.init(device, id, 2, 0,
        CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(50))));
    assertFailure(e, Reason.TIMEOUT, "only 1 of 2 ranks came within PT0.05S");
  }

  @Test
  void manyRanks() {
    UniqueId id = Communicator.uniqueId();
    CommunicatorOptions hasty = CommunicatorOptions.DEFAULT.withTimeout(Duration.ofMillis(50));
    var e = catchThrowableOfType(CommunicatorException.class, () -> Communicator.init(device, id, 4096, 4095, hasty));
    assertFailure(e, Reason.TIMEOUT, "only 1 of 4096 ranks came within PT0.05S");
    refused(() -> Communicator.init(device, id, 4097, 0, hasty), "ranks is 4097; expected 1 to 4096");
    refused(() -> Communicator.init(device, id, Integer.MAX_VALUE, 0, hasty), "ranks is 2147483647; expected 1 to 4096");
    refused(() -> Communicator.initAll(Collections.nCopies(5000, device)), "devices.size() is 5000; expected 1 to 4096");
    Communicator.init(device, id, 1, 0, hasty).close(); // who waited in vain has left nothing behind
  }

  @Test
  void aloneItIsTheWorld() {
    try (Communicator world = Communicator.world(device, CommunicatorOptions.DEFAULT)) {
      assertThat(world.ranks()).isEqualTo(1);
      new Collectives(world).run(1, 10);
    }
  }

  /** A process that mpirun started, it thinks, where there is no MPI: what needs none still works. */
  @Test
  void withoutMpi() throws Exception {
    var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.mpi.path=/nowhere")
        .environment("OMPI_COMM_WORLD_SIZE", "2").classes(ChildJvm.testClasses())
        .runOnClassPath("dev.mhc.CommunicatorTest$World");
    assertThat(result.output()).contains("NativeLibraryException: the native library Open MPI could not be loaded. Tried:",
        "system property mhc.mpi.path: /nowhere: no such file", "threads work: 3.0");
  }

  /** In a JVM of its own. */
  static final class World {
    public static void main(String... arguments) {
      try (Device device = Device.cpu()) {
        try (Communicator world = Communicator.world(device, CommunicatorOptions.DEFAULT)) {
          System.out.println(world);
        } catch (NativeLibraryException e) {
          System.out.println(e);
        }
        List<Communicator> ranks = Communicator.initAll(List.of(device, device));
        Tensor one = device.tensor(DType.FP32, 1).fill(1);
        Tensor two = device.tensor(DType.FP32, 1).fill(2);
        Communicator.group(() -> {
          ranks.get(0).allReduce(one, one, ReduceOp.SUM);
          ranks.get(1).allReduce(two, two, ReduceOp.SUM);
        });
        System.out.println("threads work: " + one.get(0));
      }
    }
  }

  @Test
  void wrongArguments() throws Exception {
    UniqueId id = Communicator.uniqueId();
    CommunicatorOptions options = CommunicatorOptions.DEFAULT;
    refused(() -> UniqueId.of(new byte[3]), "bytes has 3 bytes; expected 128");
    refused(() -> options.withTimeout(Duration.ZERO), "timeout is PT0S; expected more than 0");
    refused(() -> Communicator.init(device, id, 0, 0, options), "ranks is 0; expected 1 to 2147483647");
    refused(() -> Communicator.init(device, id, 2, 2, options), "rank is 2; expected 0 to 1");
    refused(() -> Communicator.init(null, id, 2, 1, options), "device is null");
    refused(() -> Communicator.initAll(List.of()), "devices.size() is 0");
    List<Communicator> ranks = Communicator.initAll(List.of(device, device));
    Communicator rank = ranks.get(0);
    Tensor x = device.tensor(DType.FP32, 6);
    Tensor y = device.tensor(DType.FP32, 3);
    refused(() -> rank.allReduce(x, y, ReduceOp.SUM), "dst is [3] FP32; expected 6 elements, on rank 0 of 2");
    refused(() -> rank.allReduce(x, x, null), "op is null");
    refused(() -> rank.allReduce(null, x, ReduceOp.SUM), "src is null");
    refused(() -> rank.allReduce(x.slice(0, 0, 4), x.slice(0, 2, 6), ReduceOp.SUM), "dst is [4] FP32, in memory that src");
    refused(() -> rank.allReduce(x, device.tensor(DType.BF16, 6), ReduceOp.SUM), "expected the type of src, FP32");
    Tensor integers = device.tensor(DType.INT32, 2);
    refused(() -> rank.allReduce(integers, integers, ReduceOp.AVERAGE), "op is AVERAGE; expected SUM, MIN or MAX");
    Tensor powers = device.tensor(DType.E8M0, 2);
    refused(() -> rank.allReduce(powers, powers, ReduceOp.MAX), "src is [2] E8M0; expected elements that can be combined");
    refused(() -> rank.allGather(x, y), "dst is [3] FP32; expected 12 elements");
    refused(() -> rank.reduceScatter(y, x, ReduceOp.SUM), "src is [3] FP32; expected 12 elements");
    refused(() -> rank.broadcast(x, 2), "root is 2; expected 0 to 1");
    refused(() -> rank.send(x, 0), "peer is 0, this rank itself");
    refused(() -> rank.receive(x, -1), "peer is -1");
    refused(() -> rank.send(x.reshape(2, 3).slice(1, 0, 2), 1), "expected row-major elements without gaps");
    try (Device other = Device.cpu()) {
      refused(() -> rank.send(other.tensor(DType.FP32, 3), 1), "tensor belongs to another device");
    }
    assertThat(rank.asyncError()).isEmpty();
    y.close();
    assertThatIllegalStateException().isThrownBy(() -> rank.send(y, 1)).withMessageContaining("tensor is closed");
    rank.close();
    rank.close();
    assertThat(rank.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(rank::barrier).withMessage("the communicator is closed");
  }

  private static void assertFailure(Throwable e, Reason reason, String words) {
    assertThat(e).isInstanceOf(CommunicatorException.class).hasMessageContaining(words);
    assertThat(((CommunicatorException) e).reason()).isEqualTo(reason);
    assertThat(((MhcException) e).status()).isEqualTo(reason.name());
  }

  /** What each rank's work threw, or null. */
  private static List<Throwable> run(int ranks, CommunicatorOptions options, Work work) throws InterruptedException {
    UniqueId id = Communicator.uniqueId();
    boolean patient = options == CommunicatorOptions.DEFAULT; // else the threads might come too late
    List<Communicator> ready = patient ? List.of() : Communicator.initAll(Collections.nCopies(ranks, device), options);
    var failures = new ArrayList<Throwable>(Collections.nCopies(ranks, null));
    try (var pool = Executors.newFixedThreadPool(ranks)) {
      List<Future<Void>> results = pool.invokeAll(IntStream.range(0, ranks).<Callable<Void>>mapToObj(rank -> () -> {
        try (Communicator communicator = patient ? Communicator.init(device, id, ranks, rank, options) : ready.get(rank)) {
          work.run(communicator);
        }
        return null;
      }).toList());
      for (int rank = 0; rank < ranks; rank++) {
        try {
          results.get(rank).get();
        } catch (ExecutionException e) {
          failures.set(rank, e.getCause());
        }
      }
    }
    return failures;
  }

  private static void sleep(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
