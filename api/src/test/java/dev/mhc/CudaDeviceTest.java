// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What a GPU has and a CPU has not: memory of its own, work that goes on behind calls, errors that come late. */
@EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
class CudaDeviceTest {
  private static final int N = 4;
  private static final int C = 40;

  private final long seed = new Random().nextLong();
  private final Random random = new Random(seed);
  private CudaDevice device;

  @BeforeEach
  void open() {
    device = TestDevice.cuda();
  }

  @AfterEach
  void close() {
    device.close();
  }

  private double[] normal(long count) {
    return random.doubles(count).map(u -> (float) random.nextGaussian()).toArray();
  }

  @Test
  void itIsTheBest() {
    assertThat(Device.count(DeviceType.CUDA)).isPositive();
    assertThat(Device.count(DeviceType.CPU)).isOne();
    try (Device best = Device.best()) {
      assertThat(best.type()).isEqualTo(DeviceType.CUDA);
      assertThat(SelfTest.passes(SelfTest.run(best))).isTrue();
    }
    assertThatIllegalArgumentException().isThrownBy(() -> Device.cuda(Device.count(DeviceType.CUDA)))
        .withMessageStartingWith("index is ");
  }

  @Test
  void properties() {
    assertThat(device.type()).isEqualTo(DeviceType.CUDA);
    assertThat(device.index()).isZero();
    assertThat(device.threads()).isZero();
    assertThat(device.tier()).isEqualTo(CpuTier.AUTO);
    assertThat(device.multiprocessors()).isPositive();
    assertThat(device.computeCapability()).isBetween(80, 200);
    assertThat(device.l2Bytes()).isPositive();
    assertThat(device.sharedBytesPerBlock()).isGreaterThanOrEqualTo(48 << 10);
    assertThat(device.pciBusId()).matches("[0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\\.[0-9]");
    assertThat(device.driverVersion()).matches("1[2-9]\\.\\d");
    assertThat(device.runtimeVersion()).matches("1[23]\\.\\d");
  }

  /** In a JVM of its own. */
  static final class WithoutPools {
    public static void main(String... arguments) {
      try {
        Device.cuda(0).close();
      } catch (MhcException e) {
        System.out.println(e.status() + ", " + e.device() + ": " + e.getMessage());
      }
      System.out.println("the best is " + Device.best().type());
    }
  }

  @Test
  void aGpuWithoutMemoryPools() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU has them");
    var result = TestDevice.standIns().environment("MHC_STAND_IN_NO_POOLS", "1").runOnClassPath("dev.mhc.CudaDeviceTest$WithoutPools");
    assertThat(result.output()).contains("MHC_UNSUPPORTED, cuda:0: ", "cuda:0 has no memory pools", "Hint: ", "the best is CPU");
  }

  /** An operation's failure that leaves the GPU whole has a hint too, and the next call works. */
  static final class FailingOnce {
    public static void main(String... arguments) {
      try (Device device = Device.cuda(0)) {
        Tensor x = device.tensor(DType.FP32, 2, N, C).fill(1);
        Tensor mix = device.tensor(DType.FP32, 2, N).fill(1);
        Tensor h = device.tensor(DType.FP32, 2, C);
        try {
          Operations.pre(x, mix, h);
        } catch (MhcException e) {
          System.out.println(e.status() + ", " + e.device() + ", hint: " + e.hint());
        }
        Operations.pre(x, mix, h);
        System.out.println("then " + h.get(1, 1));
      }
    }
  }

  @Test
  void anErrorThatPasses() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "no GPU is made to fail on purpose");
    var result = TestDevice.standIns().environment("MHC_STAND_IN_FAIL", "kernel:1:209").runOnClassPath("dev.mhc.CudaDeviceTest$FailingOnce");
    assertThat(result.output()).contains("MHC_DEVICE_ERROR, ", "hint: libmhc_cuda was built for other GPUs", "then 4.0");
  }

  @Test
  void memoryIsCounted() {
    CudaDevice.MemoryInfo before = device.memory();
    assertThat(before.free()).isBetween(1L, before.total());
    Tensor tensor = device.tensor(DType.FP32, 1000, 1000);
    device.synchronize();
    assertThat(device.memory().tensors() - before.tensors()).isGreaterThanOrEqualTo(4_000_000);
    assertThat(device.liveBytes()).isEqualTo(4_000_000);
    tensor.close();
    device.synchronize();
    assertThat(device.memory().tensors()).isEqualTo(before.tensors());
    assertThat(device.liveBytes()).isZero();
    device.trim();
  }

  @Test
  void allocationsBeyondTheMemoryFailAndLeaveTheDeviceAsItWas() {
    long total = device.memory().total();
    var e = org.assertj.core.api.Assertions.catchThrowableOfType(CudaException.class, () -> device.tensor(DType.FP8_E4M3, total + 1));
    assertThat(e.status()).isEqualTo("cudaErrorMemoryAllocation");
    assertThat(e.hint()).contains("close tensors");
    assertThat(device.liveBytes()).isZero();
    try (Tensor small = device.tensor(DType.FP32, 3)) {
      assertThat(small.toDoubles()).containsOnly(0);
    }
  }

  @Test
  void valuesGoThereAndBack() {
    for (DType type : DType.values()) {
      double[] values = type == DType.INT32 || type == DType.E8M0 ? new double[] {1, 2, 4, 8, 16, 32} : normal(6);
      try (Device cpu = Device.cpu(); Tensor there = device.tensor(type, 2, 3); Tensor here = cpu.tensor(type, 2, 3)) {
        assertThat(there.copyFrom(values).toDoubles()).isEqualTo(here.copyFrom(values).toDoubles());
        there.set(2, 1, 2);
        assertThat(there.get(1, 2)).isEqualTo(2);
        there.slice(1, 0, 2).fill(1); // what lies between stays
        assertThat(there.toDoubles()).isEqualTo(new double[] {1, 1, here.get(0, 2), 1, 1, 2});
        assertThat(here.copyFrom(there).toDoubles()).isEqualTo(there.toDoubles());
        assertThat(there.fill(4).copyFrom(here).toDoubles()).isEqualTo(here.toDoubles());
      }
    }
    Tensor wide = device.tensor(DType.FP32, 4).copyFrom(normal(4));
    Tensor narrow = device.tensor(DType.BF16, 4).copyFrom(wide); // converts, by way of the host
    try (Device cpu = Device.cpu()) {
      assertThat(narrow.toDoubles()).isEqualTo(cpu.tensor(DType.BF16, 4).copyFrom(wide.toDoubles()).toDoubles());
    }
  }

  @Test
  void itsMemoryIsAPointerToJava() {
    Tensor tensor = device.tensor(DType.FP32, 6).copyFrom(1, 2, 3, 4, 5, 6);
    assertThat(tensor.segment().byteSize()).isZero();
    assertThat(tensor.segment().address()).isNotZero();
    Tensor wrapped = Tensor.wrap(device, DType.FP32, tensor.segment(), 2, 3);
    assertThat(wrapped.toDoubles()).containsExactly(1, 2, 3, 4, 5, 6);
    assertThat(Tensor.fromDLPack(device, tensor.toDLPack()).toDoubles()).containsExactly(1, 2, 3, 4, 5, 6);
  }

  @Test
  void pinnedTensorsAreOfTheHost() {
    try (Device cpu = Device.cpu(); Tensor pinned = device.pinned(cpu, DType.FP32, 100); Tensor back = device.pinned(cpu, DType.FP32, 100)) {
      assertThat(pinned.device()).isSameAs(cpu);
      assertThat(pinned.segment().get(ValueLayout.JAVA_FLOAT, 0)).isZero();
      pinned.copyFrom(normal(100));
      Tensor there = device.tensor(DType.FP32, 100).copyFromAsync(pinned);
      back.copyFromAsync(there);
      device.stream().synchronize();
      assertThat(back.toDoubles()).isEqualTo(pinned.toDoubles());
      assertThat(cpu.liveBytes()).isEqualTo(800);
      assertThatIllegalArgumentException().isThrownBy(() -> device.pinned(device, DType.FP32, 1)).withMessageStartingWith("cpu is ");
      assertThatIllegalArgumentException().isThrownBy(() -> there.copyFromAsync(cpu.tensor(DType.BF16, 100)))
          .withMessageStartingWith("source is [100] BF16; expected a compact tensor of FP32");
    }
  }

  @Test
  void operationsOfTwoStreamsHaveWorkspaceOfTheirOwn() {
    try (Stream first = Stream.create(device); Stream second = Stream.create(device)) {
      double[] x = normal(3L * N * C);
      Tensor[] results = new Tensor[2];
      Tensor given = device.tensor(DType.FP32, 3, N, C).copyFrom(x);
      device.synchronize();
      Stream[] streams = {first, second};
      HyperConnectionConfig config = HyperConnectionConfig.Preset.PAPER.config(N);
      try (HyperConnection a = HyperConnection.create(device, config, parameters(config));
          HyperConnection b = HyperConnection.create(device, config, parameters(config))) {
        device.synchronize();
        HyperConnection[] layers = {a, b};
        for (int i = 0; i < 2; i++) {
          int which = i;
          results[i] = device.tensor(DType.FP32, 3, C);
          device.synchronize();
          streams[i].run(() -> layers[which].pre(given, results[which]));
        }
        device.synchronize();
        try (Device cpu = Device.cpu(); HyperConnection same = HyperConnection.create(cpu, config, copy(cpu, a.parameters()));
            Tensor h = cpu.tensor(DType.FP32, 3, C); Tensor xs = cpu.tensor(DType.FP32, 3, N, C).copyFrom(x)) {
          same.pre(xs, h);
          double[] expected = h.toDoubles();
          double[] actual = results[0].toDoubles();
          for (int i = 0; i < expected.length; i++) {
            Products.assertClose(actual[i], expected[i], 1e-5, "seed " + seed);
          }
        }
      }
    }
  }

  private Parameters parameters(HyperConnectionConfig config) {
    int m = config.mixCount();
    return Parameters.of(device.tensor(DType.FP32, m, N * C).copyFrom(normal((long) m * N * C)),
        device.tensor(DType.FP32, 3).copyFrom(0.5, 0.25, 0.75), device.tensor(DType.FP32, m).copyFrom(normal(m)));
  }

  private static Parameters copy(Device to, Parameters from) {
    return Parameters.of(to.tensor(DType.FP32, from.projection().shape()).copyFrom(from.projection()),
        to.tensor(DType.FP32, 3).copyFrom(from.scale()), to.tensor(DType.FP32, from.bias().shape()).copyFrom(from.bias()));
  }

  @Test
  void graphsComputeWhenTheyAreLaunched() {
    Tensor x = device.tensor(DType.FP32, 7, N, C).copyFrom(normal(7L * N * C));
    Tensor mix = device.tensor(DType.FP32, 7, N).fill(0.5); // not negative, for zeros without a sign
    Tensor h = device.tensor(DType.FP32, 7, C);
    Tensor copy = device.tensor(DType.FP32, 7, C);
    Operations.pre(x, mix, copy);
    double[] expected = copy.toDoubles();
    copy.fill(0);
    try (Graph graph = Graph.capture(device, () -> {
      Operations.pre(x, mix, h);
      copy.copyFrom(h);
    })) {
      assertThat(graph.size()).isEqualTo(2);
      assertThat(copy.toDoubles()).containsOnly(0);
      graph.launch();
      assertThat(copy.toDoubles()).isEqualTo(expected);
      x.fill(0);
      graph.launch();
      assertThat(copy.toDoubles()).containsOnly(0);

      Tensor other = device.tensor(DType.FP32, 7, N, C).fill(1);
      graph.update(() -> {
        Operations.pre(other, mix, h);
        copy.copyFrom(h);
      });
      graph.launch();
      Operations.pre(other, mix, h);
      assertThat(copy.toDoubles()).isEqualTo(h.toDoubles());
      graph.update(() -> Operations.pre(x, mix, copy)); // of another shape
      assertThat(graph.size()).isEqualTo(1);
      graph.launch();
      assertThat(copy.toDoubles()).containsOnly(0);

      other.close(); // its memory stays: the graph may still lead to it
      h.close();
      graph.launch();
      device.synchronize();
    }
    device.synchronize();
    assertThat(device.memory().tensors()).as("held by the graph no longer").isEqualTo(device.liveBytes());
  }

  @Test
  void gemmsAndMuonAreCaptured() {
    Tensor a = device.tensor(DType.BF16, 16, 32).copyFrom(normal(512));
    Tensor b = device.tensor(DType.BF16, 32, 16).copyFrom(normal(512));
    Tensor d = device.tensor(DType.FP32, 16, 16);
    Tensor weight = device.tensor(DType.FP32, 16, 16).copyFrom(normal(256));
    Tensor gradient = device.tensor(DType.FP32, 16, 16);
    Tensor momentum = device.tensor(DType.FP32, 16, 16);
    try (Gemm gemm = Gemm.create(device, GemmConfig.of(DType.BF16, 16, 16, 32).withResult(DType.FP32));
        Muon muon = Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), 16, 16)) {
      gemm.run(a, b, d);
      double[] expected = d.toDoubles();
      muon.step(weight, d, momentum, 0.01f); // the rate is there now
      momentum.fill(0);
      weight.fill(0);
      Muon twin = Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), 16, 16);
      Tensor alone = device.tensor(DType.FP32, 16, 16);
      twin.step(alone, d, device.tensor(DType.FP32, 16, 16), 0.01f);
      d.fill(0);
      try (Graph graph = Graph.capture(device, () -> {
        gemm.run(a, b, d);
        gradient.copyFrom(d);
        muon.step(weight, gradient, momentum, 0.01f);
      })) {
        graph.launch();
        assertThat(d.toDoubles()).isEqualTo(expected);
        assertThat(weight.toDoubles()).isEqualTo(alone.toDoubles());

        Tensor other = device.tensor(DType.FP32, 16, 16); // eager steps at other rates leave the graph its own
        for (float rate : new float[] {0.5f, 0.25f, 0.01f}) {
          muon.step(other, d, device.tensor(DType.FP32, 16, 16), rate);
          weight.fill(0);
          momentum.fill(0);
          graph.launch();
          assertThat(weight.toDoubles()).as("rate %s", rate).isEqualTo(alone.toDoubles());
        }
        assertThatIllegalStateException().isThrownBy(() -> Graph.capture(device, () -> muon.step(weight, gradient, momentum, 3)))
            .withMessage("a learning rate cannot be new (take a step with it before) while a graph is captured");
      }
    }
  }

  @Test
  void whatCannotBeCapturedIsRefused() {
    Tensor x = device.tensor(DType.FP32, 2, N, C);
    Stream stream = device.stream();
    for (Runnable call : new Runnable[] {() -> device.tensor(DType.FP32, 1), () -> x.get(0, 0, 0), stream::synchronize,
        device::synchronize, stream::isDone, () -> Graph.capture(device, () -> {})}) {
      assertThatIllegalStateException().isThrownBy(() -> Graph.capture(device, call)).withMessageEndingWith("while a graph is captured");
    }
    assertThat(x.toDoubles()).as("the stream is as before").containsOnly(0);
    assertThatIllegalArgumentException().isThrownBy(() -> Graph.capture(device, null));
  }

  @Test
  void useAfterClose() {
    Tensor tensor = device.tensor(DType.FP32, 3);
    Stream stream = Stream.create(device);
    Event event = stream.record();
    Graph graph = Graph.capture(device, () -> {});
    tensor.close();
    assertThatIllegalStateException().isThrownBy(tensor::toDoubles);
    event.close();
    event.close();
    assertThatIllegalStateException().isThrownBy(event::isDone).withMessage("the event is closed");
    stream.close();
    stream.close();
    assertThatIllegalStateException().isThrownBy(stream::synchronize).withMessage("the stream is closed");
    assertThatIllegalStateException().isThrownBy(() -> stream.run(() -> {}));
    graph.close();
    graph.close();
    assertThatIllegalStateException().isThrownBy(graph::launch).withMessage("the graph is closed");
    device.stream().close();
    assertThat(device.stream().isClosed()).as("a device's own stream stays").isFalse();
    Stream left = Stream.create(device);
    Event recorded = left.record();
    Graph captured = Graph.capture(device, () -> {});
    Gemm gemm = Gemm.create(device, GemmConfig.of(DType.FP32, 2, 2, 2));
    device.close();
    device.close();
    assertThat(left.isClosed() && recorded.isClosed() && captured.isClosed() && gemm.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(() -> device.tensor(DType.FP32, 1)).withMessageContaining("is closed");
    assertThatIllegalStateException().isThrownBy(device::memory).withMessageContaining("is closed");
  }

  @Test
  void tensorsOfOtherDevicesAreRefused() {
    try (Device cpu = Device.cpu(); Device twin = TestDevice.cuda()) {
      for (Device other : new Device[] {cpu, twin}) {
        Tensor x = other.tensor(DType.FP32, 2, N, C);
        assertThatIllegalArgumentException()
            .isThrownBy(() -> Operations.pre(x, device.tensor(DType.FP32, 2, N), other.tensor(DType.FP32, 2, C)))
            .withMessageStartingWith("preMix belongs to another device");
      }
      Tensor here = device.tensor(DType.FP32, 5).fill(3);
      assertThat(twin.tensor(DType.FP32, 5).copyFrom(here).toDoubles()).containsOnly(3);
    }
  }

  /** In a JVM of its own, with two GPUs. */
  static final class TwoGpus {
    public static void main(String... arguments) {
      try (CudaDevice first = Device.cuda(0); CudaDevice second = Device.cuda(1)) {
        Tensor x = first.tensor(DType.FP32, 5).fill(3);
        Tensor y = second.tensor(DType.FP32, 5);
        System.out.println("alone: " + StandIn.canAccess(second, x) + " " + StandIn.canAccess(first, y));
        y.copyFrom(x);
        System.out.println("copied " + y.get(4) + ": " + StandIn.canAccess(second, x) + " " + StandIn.canAccess(first, y));
        List<Communicator> ranks = Communicator.initAll(List.of(first, second));
        Communicator.group(() -> {
          ranks.get(0).allReduce(x, x, ReduceOp.SUM);
          ranks.get(1).allReduce(y, y, ReduceOp.SUM);
        });
        System.out.println("summed " + y.get(4) + ": " + StandIn.canAccess(second, x) + " " + StandIn.canAccess(first, y));
      }
    }
  }

  /** Memory of a pool is its own GPU's alone, until who copies or communicates lets the others in. */
  @Test
  void gpusLetEachOtherIntoTheirPools() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU does not tell who may use its memory");
    var two = TestDevice.standIns().environment("MHC_STAND_IN_GPUS", "2").environment("MHC_EXECUTOR_GPUS", "2");
    assertThat(two.runOnClassPath("dev.mhc.CudaDeviceTest$TwoGpus").output()).contains("alone: false false",
        "copied 3.0: true false", "summed 6.0: true true");
    assertThat(two.environment("MHC_STAND_IN_NO_PEERS", "1").runOnClassPath("dev.mhc.CudaDeviceTest$TwoGpus").output())
        .contains("copied 3.0: false false", "summed 6.0: false false").doesNotContain("WARNING");
  }

  /** In a JVM of its own, since it breaks that JVM's use of the GPU. */
  static final class BrokenDevice {
    public static void main(String... arguments) {
      CudaDevice device = Device.cuda(0);
      Tensor x = device.tensor(DType.FP32, 2, N, C).fill(1);
      Tensor mix = device.tensor(DType.FP32, 2, N).fill(1);
      Tensor h = device.tensor(DType.FP32, 2, C);
      for (int i = 0; i < 3; i++) {
        try {
          Operations.pre(x, mix, h);
          System.out.println("pre " + i + " is on its way");
        } catch (MhcException e) {
          System.out.println("pre " + i + ": " + e.getMessage());
          System.out.println("broken: " + device.isBroken() + ", hint of pre: " + e.hint());
        }
      }
      try {
        h.toDoubles();
      } catch (CudaException e) {
        System.out.println("read: " + e.getMessage());
      }
      device.close();
      try (Device cpu = Device.cpu(); Tensor tensor = cpu.tensor(DType.FP32, 1).fill(5)) {
        System.out.println("the CPU works: " + tensor.get(0));
      }
    }
  }

  @Test
  void anErrorThatStaysLeavesTheProcessAlive() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "no GPU is broken on purpose");
    var result = TestDevice.standIns().environment("MHC_STAND_IN_FAIL", "kernel:2:700")
        .runOnClassPath("dev.mhc.CudaDeviceTest$BrokenDevice");
    assertThat(result.output()).contains("pre 0 is on its way", "pre 1: MHC_DEVICE_ERROR: mhc_pre: CUDA device 0",
        "cudaErrorIllegalAddress", "pre 2: ", "read: cudaErrorIllegalAddress", "the device cannot be used any more in this process",
        "broken: true, hint of pre: the device cannot be used any more",
        "the CPU works: 5.0");
    assertThat(result.exitCode()).isZero();
  }
}
