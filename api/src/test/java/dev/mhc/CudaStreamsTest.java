// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.mhc.bindings.VendorLibrary;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What only streams that run late can get wrong: the order of frees, of copies between devices, of what is captured. */
@EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
class CudaStreamsTest {
  private static final int COUNT = 300;

  private CudaDevice device;
  private CudaDevice twin;

  @BeforeEach
  void open() {
    device = TestDevice.cuda();
    twin = TestDevice.cuda();
  }

  @AfterEach
  void close() {
    twin.close();
    device.close();
  }

  /** The source's memory is used again at once, and the source itself is overwritten. */
  @Test
  void aCopyBetweenDevicesIsInTheOrderOfBoth() {
    for (int round = 1; round <= 30; round++) {
      Tensor source = twin.tensor(DType.FP32, COUNT).fill(round);
      Tensor first = device.tensor(DType.FP32, COUNT).copyFrom(source);
      source.copyFrom(twin.tensor(DType.FP32, COUNT).fill(-1));
      Tensor second = device.tensor(DType.FP32, COUNT).copyFromAsync(source);
      source.close();
      try (Tensor next = twin.tensor(DType.FP32, COUNT).fill(-2)) {
        assertThat(first.toDoubles()).containsOnly(round);
        assertThat(second.toDoubles()).containsOnly(-1);
        assertThat(next.toDoubles()).containsOnly(-2);
      }
    }
  }

  @Test
  void oppositeCopiesDoNotWaitForEachOther() throws Exception {
    Tensor here = device.tensor(DType.FP32, COUNT).fill(1);
    Tensor there = twin.tensor(DType.FP32, COUNT).fill(1);
    Tensor fromThere = device.tensor(DType.FP32, COUNT);
    Tensor fromHere = twin.tensor(DType.FP32, COUNT);
    try (var pool = Executors.newFixedThreadPool(2)) {
      var both = pool.invokeAll(List.<Callable<Void>>of(() -> repeat(fromThere, there), () -> repeat(fromHere, here)), 60,
          TimeUnit.SECONDS);
      for (var each : both) {
        assertThat(each.isCancelled()).as("deadlock").isFalse();
        each.get();
      }
    }
    assertThat(fromThere.toDoubles()).containsOnly(1);
  }

  private static Void repeat(Tensor target, Tensor source) {
    for (int i = 0; i < 300; i++) {
      target.copyFrom(source);
    }
    return null;
  }

  @Test
  void prioritiesReachTheRuntime() throws Throwable {
    assertThat(nativePriority(Stream.Priority.HIGH)).isLessThan(nativePriority(Stream.Priority.NORMAL));
  }

  @SuppressWarnings("restricted")
  private int nativePriority(Stream.Priority priority) throws Throwable {
    try (Arena arena = Arena.ofConfined(); Stream stream = Stream.create(device, priority)) {
      MemorySegment function = SymbolLookup.libraryLookup(VendorLibrary.CUDART.load().path(), arena)
          .find("cudaStreamGetPriority").orElseThrow();
      var call = Linker.nativeLinker().downcallHandle(function,
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS));
      MemorySegment result = arena.allocate(ValueLayout.JAVA_INT);
      assertThat((int) call.invokeExact(((CudaStream) stream.work).handle(), result)).isZero();
      return result.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** The other stream waits for a message that comes only when the default stream is done. */
  @Test
  void aClosedTensorHoldsUpNobody() {
    TestDevice.needRanksOnOneGpu(device);
    List<Communicator> ranks = Communicator.initAll(List.of(device, twin));
    try (Stream late = Stream.create(device)) {
      Tensor gone = device.tensor(DType.FP32, COUNT);
      Tensor received = device.tensor(DType.FP32, COUNT);
      Tensor kept = device.tensor(DType.FP32, COUNT);
      Tensor sent = twin.tensor(DType.FP32, COUNT).fill(5);
      Communicator.group(() -> { // ranks that have not met yet wait for each other in the call
        ranks.get(0).receive(received, 1);
        ranks.get(1).send(sent, 0);
      });
      received.fill(0);
      device.synchronize();
      late.run(() -> ranks.get(0).receive(received, 1));
      assertThat(late.isDone()).isFalse();
      gone.close();
      assertThat(kept.fill(3).toDoubles()).containsOnly(3);
      ranks.get(1).send(sent, 0);
      late.synchronize();
      assertThat(received.toDoubles()).containsOnly(5);
    } finally {
      ranks.forEach(Communicator::close);
    }
  }

  @Test
  void memoryIsFreedAfterAllStreams() {
    try (Stream late = Stream.create(device)) {
      for (int round = 1; round <= 30; round++) {
        Tensor source = device.tensor(DType.FP32, COUNT).fill(round);
        Tensor target = device.tensor(DType.FP32, COUNT);
        device.synchronize();
        late.run(() -> target.copyFrom(source));
        source.close();
        try (Tensor next = device.tensor(DType.FP32, COUNT).fill(-1)) {
          late.synchronize();
          assertThat(target.toDoubles()).containsOnly(round);
          assertThat(next.toDoubles()).containsOnly(-1);
        }
      }
    }
  }

  @Test
  void aTensorThatIsClosedInACaptureStays() {
    Tensor target = device.tensor(DType.FP32, COUNT);
    Tensor source = device.tensor(DType.FP32, COUNT).fill(3);
    Graph old = Graph.capture(device, () -> {});
    try (Graph graph = Graph.capture(device, () -> {
      target.copyFrom(source);
      source.close();
      old.close();
    })) {
      assertThat(graph.size()).as("the copy, no free").isOne();
      for (int i = 0; i < 3; i++) {
        target.fill(0);
        graph.launch();
        assertThat(target.toDoubles()).containsOnly(3);
      }
    }
    device.synchronize();
    assertThat(device.memory().tensors()).isEqualTo(device.liveBytes());
  }

  @Test
  void aForkThatIsNotJoinedIsRefused() {
    Tensor tensor = device.tensor(DType.FP32, COUNT);
    Tensor source = device.tensor(DType.FP32, COUNT).fill(3);
    try (Stream branch = Stream.create(device); Event forked = Event.create(device)) {
      var e = catchThrowableOfType(CudaException.class, () -> Graph.capture(device, () -> {
        forked.record(device.stream());
        branch.await(forked);
        branch.run(() -> tensor.copyFrom(source));
      }));
      assertThat(e.status()).isEqualTo("cudaErrorStreamCaptureUnjoined");
      assertThat(e.hint()).contains("await");
      branch.run(() -> tensor.copyFrom(source));
      branch.synchronize();
      assertThat(tensor.toDoubles()).containsOnly(3);
    }
  }

  /** In a stream that has joined a capture no more can be done than in the one that it began in. */
  @Test
  void aJoinedStreamIsCapturedToo() {
    try (Stream branch = Stream.create(device); Event forked = Event.create(device)) {
      for (Runnable call : new Runnable[] {() -> device.tensor(DType.FP32, 1), branch::synchronize, branch::isDone, branch::close,
          device::close}) {
        assertThatIllegalStateException().isThrownBy(() -> Graph.capture(device, () -> {
          forked.record(device.stream());
          branch.await(forked);
          branch.run(call);
        })).withMessageContaining("while a graph is captured");
      }
      branch.synchronize();
    }
  }

  /** The product's last call, whose workspace this one uses, was on a stream that has no part in the capture. */
  @Test
  void whatIsCapturedComesAfterWhatSharesItsWorkspace() {
    Tensor a = device.tensor(DType.FP32, 16, 16).fill(1);
    Tensor d = device.tensor(DType.FP32, 16, 16);
    try (Stream other = Stream.create(device); Gemm gemm = Gemm.create(device, GemmConfig.of(DType.FP32, 16, 16, 16))) {
      device.synchronize();
      other.run(() -> gemm.run(a, a, d));
      try (Graph graph = Graph.capture(device, () -> gemm.run(a, a, d))) {
        d.fill(0);
        graph.launch();
        assertThat(d.toDoubles()).containsOnly(16);
      }
    }
  }

  /** Of 64 channels; all alike. */
  private HyperConnection layer() {
    HyperConnectionConfig config = HyperConnectionConfig.Preset.PAPER.config(4);
    return HyperConnection.create(device, config, Parameters.initialize(device, config, 64, 1));
  }

  /** A larger shape than any before gets more workspace; what a graph uses is still there. */
  @Test
  void workspaceThatAGraphUsesStays() {
    HyperConnection layer = layer();
    HyperConnection second = layer();
    Tensor x = device.tensor(DType.FP32, 3, 4, 64).fill(1);
    Tensor h = device.tensor(DType.FP32, 3, 64);
    layer.pre(x, h);
    double[] expected = h.toDoubles();
    long before = device.workspace();
    try (Graph graph = Graph.capture(device, () -> layer.pre(x, h))) {
      second.pre(device.tensor(DType.FP32, 200, 4, 64), device.tensor(DType.FP32, 200, 64));
      device.reserve(before + (1 << 20));
      assertThat(device.workspace()).isGreaterThan(before);
      h.fill(0);
      graph.launch();
      assertThat(h.toDoubles()).isEqualTo(expected);
    }
  }

  /** So does that of a stream that is closed before the graph. */
  @Test
  void aGraphOutlivesTheStreamThatItWasCapturedOn() {
    HyperConnection layer = layer();
    Tensor x = device.tensor(DType.FP32, 3, 4, 64).fill(1);
    Tensor h = device.tensor(DType.FP32, 3, 64);
    var captured = new Graph[1];
    long bytes;
    try (Stream gone = Stream.create(device)) {
      device.synchronize();
      gone.run(() -> {
        layer.pre(x, h);
        captured[0] = Graph.capture(device, () -> layer.pre(x, h));
      });
      gone.synchronize();
      bytes = mhc_h.mhc_live_bytes();
    }
    double[] expected = h.toDoubles();
    assertThat(mhc_h.mhc_live_bytes()).as("its workspace").isEqualTo(bytes);
    try (Graph graph = captured[0]) {
      h.fill(0);
      graph.launch();
      assertThat(h.toDoubles()).isEqualTo(expected);
    }
  }

  /** An operation behind a message that has not come uses the workspace that a larger one outgrows meanwhile. */
  @Test
  void workspaceOfWorkThatWaitsStays() {
    HyperConnection small = layer();
    HyperConnection large = layer();
    Tensor x = device.tensor(DType.FP32, 3, 4, 64).fill(1);
    Tensor h = device.tensor(DType.FP32, 3, 64);
    small.pre(x, h);
    double[] expected = h.toDoubles();
    Tensor received = device.tensor(DType.FP32, COUNT);
    Tensor sent = twin.tensor(DType.FP32, COUNT).fill(5);
    Tensor many = device.tensor(DType.FP32, 200, 4, 64);
    Tensor manyH = device.tensor(DType.FP32, 200, 64);
    List<Communicator> ranks = Communicator.initAll(List.of(device, twin));
    try (Stream late = Stream.create(device)) {
      Communicator.group(() -> { // ranks that have not met yet wait for each other in the call
        ranks.get(0).receive(received, 1);
        ranks.get(1).send(sent, 0);
      });
      h.fill(0);
      device.synchronize();
      late.run(() -> {
        small.pre(x, h);
        ranks.get(0).receive(received, 1);
        small.pre(x, h);
        long before = mhc_h.mhc_live_bytes();
        large.pre(many, manyH);
        assertThat(mhc_h.mhc_live_bytes() - before).as("beside the smaller one").isEqualTo(device.workspace());
      });
      assertThat(late.isDone()).isFalse();
      ranks.get(1).send(sent, 0);
      late.synchronize();
      assertThat(h.toDoubles()).isEqualTo(expected);
      assertThat(received.toDoubles()).containsOnly(5);
    } finally {
      ranks.forEach(Communicator::close);
    }
  }
}
