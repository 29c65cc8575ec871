// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static dev.mhc.DType.BF16;
import static dev.mhc.DType.E8M0;
import static dev.mhc.DType.FP16;
import static dev.mhc.DType.FP32;
import static dev.mhc.DType.INT32;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.mhc.Fp8GemmConfig.Scaling;
import dev.mhc.GemmConfig.Precision;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.PipelineOptions.Wire;
import dev.mhc.PipelineSchedule.Step;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is not an operation's tensor, for which there is ArgumentsTest, with every kind of wrong value: refused, and nothing else. */
class WrongValuesTest {
  private static final int MAX = Integer.MAX_VALUE;
  private static final double UNTOUCHED = 7;

  private Device device;
  private Device other;
  private Device closed;

  @BeforeEach
  void open() {
    device = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    other = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    closed = Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    closed.close();
  }

  @AfterEach
  void close() {
    device.close();
    other.close();
  }

  private static void refuses(ThrowingCallable call, String... words) {
    assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContainingAll(words)
        .hasMessageContaining("expected");
  }

  private static void refusesClosed(ThrowingCallable call, String words) {
    assertThatThrownBy(call).isInstanceOf(IllegalStateException.class).hasMessageContaining(words).hasMessageContaining("closed");
  }

  // ------------------------------------------------------------------------------------------------ configs

  private static GemmConfig gemm(long m, long n, long k, long batch, DType a, DType b, DType d, Activation activation,
      Precision precision) {
    return new GemmConfig(m, n, k, batch, false, false, a, b, d, 1, 0, false, activation, precision);
  }

  @Test
  void ofGemmConfig() {
    refuses(() -> GemmConfig.of(FP32, -1, 1, 1), "m is -1");
    refuses(() -> GemmConfig.of(FP32, 1L << 31, 1, 1), "m is 2147483648");
    refuses(() -> GemmConfig.of(FP32, 1, -1, 1), "n is -1");
    refuses(() -> GemmConfig.of(FP32, 1, 1L << 31, 1), "n is 2147483648");
    refuses(() -> GemmConfig.of(FP32, 1, 1, -1), "k is -1");
    refuses(() -> GemmConfig.of(FP32, 1, 1, Long.MAX_VALUE), "k is 9223372036854775807");
    refuses(() -> GemmConfig.of(FP32, MAX, MAX, 1), "the shape of D is [2147483647, 2147483647]");
    refuses(() -> GemmConfig.of(FP32, MAX, 1, MAX), "the shape of A is [2147483647, 2147483647]");
    refuses(() -> GemmConfig.of(FP32, 0, MAX, MAX), "the shape of B is [2147483647, 2147483647]");
    GemmConfig good = GemmConfig.of(BF16, 1 << 20, 1, 1 << 20);
    refuses(() -> good.withBatch(-1), "batch is -1");
    refuses(() -> good.withBatch(1L << 31), "batch is 2147483648");
    refuses(() -> good.withBatch(MAX), "the shape of A is [2147483647, 1048576, 1048576]");
    for (DType type : new DType[] {E8M0, INT32, DType.FP8_E4M3}) {
      refuses(() -> gemm(1, 1, 1, 0, type, type, FP32, Activation.NONE, Precision.FP32), "aType is " + type);
    }
    refuses(() -> GemmConfig.of(null, 1, 1, 1), "aType is null");
    refuses(() -> gemm(1, 1, 1, 0, BF16, FP16, BF16, Activation.NONE, Precision.FP32), "bType is FP16");
    refuses(() -> gemm(1, 1, 1, 0, BF16, null, BF16, Activation.NONE, Precision.FP32), "bType is null");
    refuses(() -> good.withResult(FP16), "dType is FP16");
    refuses(() -> good.withResult(null), "dType is null");
    refuses(() -> good.withEpilogue(true, null), "activation is null");
    refuses(() -> good.withPrecision(null), "precision is null");
    for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      refuses(() -> good.withFactors(wrong, 0), "alpha is " + wrong);
      refuses(() -> good.withFactors(1, wrong), "beta is " + wrong);
    }
    refuses(() -> Gemm.create(null, good), "device is null");
    refuses(() -> Gemm.create(device, null), "config is null");
    refusesClosed(() -> Gemm.create(closed, GemmConfig.of(BF16, 1, 1, 1)), "device");
  }

  @Test
  void ofRecomputePlan() {
    refuses(() -> new RecomputePlan(2, null, 1, 1), "blockStarts is null");
    refuses(() -> new RecomputePlan(2, Arrays.asList(0, null), 1, 1), "blockStarts[1] is null");
  }

  @Test
  void ofFp8GemmConfig() {
    refuses(() -> Fp8GemmConfig.tiled(-1, 1, 1, BF16), "m is -1");
    refuses(() -> Fp8GemmConfig.tiled(1L << 31, 1, 1, BF16), "m is 2147483648");
    refuses(() -> Fp8GemmConfig.tiled(1, -1, 1, BF16), "n is -1");
    refuses(() -> Fp8GemmConfig.tiled(1, 1L << 31, 1, BF16), "n is 2147483648");
    refuses(() -> Fp8GemmConfig.tiled(1, 1, -1, BF16), "k is -1");
    refuses(() -> Fp8GemmConfig.scaled(1, 1, 1L << 31, BF16), "k is 2147483648");
    refuses(() -> Fp8GemmConfig.tiled(MAX, MAX, 1, BF16), "the shape of D is");
    refuses(() -> Fp8GemmConfig.tiled(MAX, 1, MAX, BF16), "the shape of A is");
    refuses(() -> Fp8GemmConfig.tiled(1, MAX, MAX, BF16), "the shape of B is");
    for (DType type : new DType[] {E8M0, INT32, DType.FP8_E4M3, null}) {
      refuses(() -> Fp8GemmConfig.tiled(1, 1, 1, type), "dType is " + type);
    }
    refuses(() -> new Fp8GemmConfig(1, 1, 1, null, Scaling.TENSOR, BF16, false, Activation.NONE), "aScaling is null");
    refuses(() -> new Fp8GemmConfig(1, 1, 1, Scaling.TENSOR, null, BF16, false, Activation.NONE), "bScaling is null");
    refuses(() -> new Fp8GemmConfig(1, 1, 1, Scaling.SQUARE_TILE, Scaling.ROW_TILE, BF16, false, Activation.NONE),
        "aScaling is SQUARE_TILE");
    refuses(() -> new Fp8GemmConfig(1, 1, 1, Scaling.ROW_TILE, Scaling.TENSOR, BF16, false, Activation.NONE), "bScaling is TENSOR");
    refuses(() -> Fp8GemmConfig.tiled(1, 1, 1, BF16).withEpilogue(true, null), "activation is null");
    for (Scaling scaling : Scaling.values()) {
      refuses(() -> scaling.scaleShape(-1, 1), "rows is -1");
      refuses(() -> scaling.scaleShape(1, -1), "columns is -1");
    }
    refuses(() -> Fp8Gemm.create(null, Fp8GemmConfig.tiled(1, 1, 1, BF16)), "device is null");
    refuses(() -> Fp8Gemm.create(device, null), "config is null");
    refusesClosed(() -> Fp8Gemm.create(closed, Fp8GemmConfig.tiled(1, 1, 1, BF16)), "device");
  }

  @Test
  void ofMuonConfig() {
    MuonConfig good = MuonConfig.Preset.KELLER_JORDAN.config();
    refuses(() -> good.withSteps(null), "steps is null");
    refuses(() -> good.withSteps(List.of()), "steps is empty");
    refuses(() -> good.withSteps(Arrays.asList(MuonConfig.Step.QUINTIC, null)), "steps[1] is null");
    refuses(() -> good.withScaling(null, 1), "scaling is null");
    for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, -1}) {
      if (wrong != -1) {
        refuses(() -> new MuonConfig.Step(wrong, 0, 0), "a is " + wrong);
        refuses(() -> new MuonConfig.Step(0, wrong, 0), "b is " + wrong);
        refuses(() -> new MuonConfig.Step(0, 0, wrong), "c is " + wrong);
      }
      refuses(() -> good.withMomentum(wrong, true), "momentum is " + wrong);
      refuses(() -> good.withScaling(MuonConfig.Scaling.RMS, wrong), "rms is " + wrong);
      refuses(() -> good.withWeightDecay(wrong), "weightDecay is " + wrong);
      refuses(() -> new MuonConfig(good.steps(), 0, true, good.scaling(), 1, 0, wrong), "eps is " + wrong);
    }
    refuses(() -> good.withMomentum(1, false), "momentum is 1.0");
    refuses(() -> good.withScaling(MuonConfig.Scaling.RMS, 0), "rms is 0.0");
    refuses(() -> Muon.create(null, good, 1, 1), "device is null");
    refuses(() -> Muon.create(device, null, 1, 1), "config is null");
    for (long wrong : new long[] {-1, 0, 1L << 31}) {
      refuses(() -> Muon.create(device, good, wrong, 1), "rows is " + wrong);
      refuses(() -> Muon.create(device, good, 1, wrong), "columns is " + wrong);
    }
    refuses(() -> Muon.create(device, good, -1, 1, 1), "batch is -1");
    refuses(() -> Muon.create(device, good, 1L << 31, 1, 1), "batch is 2147483648");
    refuses(() -> Muon.create(device, good, MAX, MAX), "the shape of all matrices is [1, 2147483647, 2147483647]");
    refusesClosed(() -> Muon.create(closed, good, 1, 1), "device");
    try (Muon muon = Muon.create(device, good, 2, 2)) {
      Tensor x = device.tensor(FP32, 2, 2).fill(UNTOUCHED);
      Tensor y = device.tensor(FP32, 2, 2).fill(UNTOUCHED);
      for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY, -1}) {
        refuses(() -> muon.step(x, device.tensor(FP32, 2, 2), y, wrong), "learningRate is " + wrong);
      }
      assertThat(x.toDoubles()).containsOnly(UNTOUCHED);
      assertThat(y.toDoubles()).containsOnly(UNTOUCHED);
    }
  }

  // ------------------------------------------------------------------------------------------------ devices, tensors

  @Test
  void ofDevices() {
    refuses(() -> Device.count(null), "type is null");
    refuses(() -> Device.cuda(-1), "index is -1");
    refuses(() -> Device.cpu(null), "options is null");
    refuses(() -> device.tensor(null, 1), "type is null");
    refuses(() -> device.tensor(FP32, (long[]) null), "shape is null");
    refuses(() -> device.tensor(FP32, Long.MAX_VALUE), "shape is [9223372036854775807]");
    refuses(() -> device.tensor(FP32, 0, 1L << 40, 1L << 40), "shape is [0, 1099511627776, 1099511627776]");
    refuses(() -> device.reserve(-1), "bytes is -1");
    refuses(() -> Parameters.initialize(device, Preset.PAPER.config(4), Long.MAX_VALUE, 1), "the shape of the projection is");
    refusesClosed(() -> closed.tensor(FP32, 1), "device");
    refusesClosed(() -> closed.reserve(1), "device");
    refusesClosed(closed::workspace, "device");
    refusesClosed(closed::synchronize, "device");
    refusesClosed(() -> Stream.create(closed), "device");
    refusesClosed(() -> Event.create(closed), "device");
    refusesClosed(() -> Graph.capture(closed, () -> {}), "device");
    refusesClosed(() -> Tensor.wrap(closed, FP32, Arena.ofAuto().allocate(64), 1), "device");
  }

  /** What there is no memory for is an exception of this library, and leaves nothing of what it began with. */
  @Test
  void ofSizesThatThereIsNoMemoryFor() {
    long live = device.liveBytes();
    Preset preset = Preset.PAPER;
    for (ThrowingCallable call : List.<ThrowingCallable>of(() -> device.tensor(FP32, 1L << 50), () -> device.reserve(1L << 50),
        () -> Gemm.create(device, GemmConfig.of(BF16, 4, 1L << 28, 1L << 28)),
        () -> Fp8Gemm.create(device, Fp8GemmConfig.tiled(4, 1L << 30, 1L << 20, BF16)),
        () -> Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), 1L << 30, 1L << 20),
        () -> Parameters.initialize(device, preset.config(4), 1L << 45, 1),
        () -> Coefficients.allocate(device, preset.config(4), 1L << 45), () -> Gain.allocate(device, 1L << 30, 1L << 20),
        () -> Birkhoff.allocate(device, 1L << 45, 4))) {
      assertThatThrownBy(call).isInstanceOfSatisfying(MhcException.class, e -> {
        assertThat(e.status()).isEqualTo("MHC_OUT_OF_MEMORY");
        assertThat(e.hint()).isNotNull();
      });
      assertThat(device.liveBytes()).isEqualTo(live);
    }
    assertThat(device.tensor(FP32, 4).fill(1).toDoubles()).containsOnly(1);
  }

  @Test
  void ofTensors() throws Exception {
    Tensor to = device.tensor(FP32, 2, 3).fill(UNTOUCHED);
    Tensor from = device.tensor(FP32, 2, 3);
    Tensor gone = device.tensor(FP32, 2, 3);
    gone.close();
    MemorySegment memory = Arena.ofAuto().allocate(64, 8);
    Tensor readOnly = Tensor.wrap(device, FP32, memory.asReadOnly(), 2, 3);
    Tensor gaps = Tensor.wrap(device, FP32, memory, new long[] {2, 3}, new long[] {4, 1});
    Arena ended = Arena.ofShared();
    Tensor orphan = Tensor.wrap(device, FP32, ended.allocate(64, 8), 2, 3);
    ended.close();
    Tensor confined = Tensor.wrap(device, FP32, CompletableFuture.supplyAsync(() -> Arena.ofConfined().allocate(64, 8)).get(), 2, 3);

    refuses(() -> to.copyFromAsync(null), "source is null");
    refuses(() -> to.copyFromAsync(from.reshape(3, 2)), "source is [3, 2]", "[2, 3]");
    refuses(() -> to.copyFromAsync(device.tensor(BF16, 2, 3)), "source is [2, 3] BF16", "compact tensor of FP32");
    refuses(() -> to.copyFromAsync(gaps), "source is [2, 3] FP32 strides [4, 1]", "compact");
    refuses(() -> gaps.copyFromAsync(from), "source is", "strides [4, 1]");
    refuses(() -> readOnly.copyFromAsync(from), "tensor [2, 3] FP32 is read-only");
    refuses(() -> to.copyFromAsync(confined), "source wraps memory that is confined to another thread");
    refusesClosed(() -> to.copyFromAsync(gone), "source is closed");
    refusesClosed(() -> gone.copyFromAsync(from), "tensor is closed");
    refusesClosed(() -> to.copyFromAsync(orphan), "source wraps memory whose arena is closed");
    refusesClosed(() -> orphan.copyFromAsync(from), "tensor wraps memory whose arena is closed");
    refuses(() -> to.copyFrom((Tensor) null), "source is null");
    refuses(() -> to.copyFrom(from.reshape(3, 2)), "source is [3, 2]", "[2, 3]");
    refuses(() -> to.copyFrom(confined), "source wraps memory that is confined to another thread");
    refusesClosed(() -> to.copyFrom(orphan), "source wraps memory whose arena is closed");
    refuses(() -> to.copyFrom((float[]) null), "values is null");
    refuses(() -> to.copyFrom((double[]) null), "values is null");
    refuses(() -> to.copyFrom(1f), "values has 1 elements");
    refuses(() -> readOnly.set(1, 0, 0), "tensor [2, 3] FP32 is read-only");
    refuses(() -> confined.fill(1), "tensor wraps memory that is confined to another thread");
    refuses(confined::toFloats, "tensor wraps memory that is confined to another thread");
    refusesClosed(orphan::toDoubles, "tensor wraps memory whose arena is closed");
    refusesClosed(() -> orphan.get(0, 0), "tensor wraps memory whose arena is closed");
    refuses(() -> to.get((long[]) null), "index is null");
    refuses(() -> to.get(0, -1), "index is [0, -1]");
    refuses(() -> to.set(1, 2, 0), "index is [2, 0]");
    refuses(() -> to.dim(-1), "index is -1");
    refuses(() -> to.reshape((long[]) null), "shape is null");
    refuses(() -> to.reshape(-2, -3), "shape is [-2, -3]");
    refuses(() -> to.reshape(Long.MAX_VALUE, 2), "shape is [9223372036854775807, 2]");
    refuses(() -> to.slice(-1, 0, 1), "dimension is -1");
    refuses(() -> to.slice(0, 2, 1), "to is 1");
    refuses(() -> Tensor.wrap(device, FP32, memory, new long[] {3, 1}, new long[] {Long.MAX_VALUE, 1}),
        "strides is [9223372036854775807, 1]");
    refuses(() -> Tensor.wrap(device, FP32, memory, new long[] {3, 1}, null), "strides is null");
    refuses(() -> Tensor.fromDLPack(device, null), "managed is null");
    refuses(() -> Tensor.fromDLPackVersioned(device, MemorySegment.NULL), "managed is");
    assertThat(to.toDoubles()).containsOnly(UNTOUCHED);
  }

  // ------------------------------------------------------------------------------------------------ ranks

  @Test
  void ofMakingCommunicators() {
    CommunicatorOptions options = CommunicatorOptions.DEFAULT.withTimeout(Duration.ofSeconds(1));
    UniqueId id = Communicator.uniqueId();
    refuses(() -> new CommunicatorOptions(null), "timeout is null");
    refuses(() -> options.withTimeout(Duration.ofSeconds(-1)), "timeout is PT-1S");
    refuses(() -> options.withTimeout(Duration.ofSeconds(Long.MAX_VALUE)), "timeout is PT", "PT8760H");
    refuses(() -> UniqueId.of(null), "bytes is null");
    refuses(() -> UniqueId.of(new byte[127]), "bytes has 127");
    refuses(() -> Communicator.uniqueId(null), "device is null");
    refuses(() -> Communicator.init(null, id, 1, 0, options), "device is null");
    refuses(() -> Communicator.init(device, null, 1, 0, options), "id is null");
    refuses(() -> Communicator.init(device, id, -1, 0, options), "ranks is -1");
    refuses(() -> Communicator.init(device, id, 1, -1, options), "rank is -1");
    refuses(() -> Communicator.init(device, id, 1, 1, options), "rank is 1");
    refuses(() -> Communicator.init(device, id, 1, 0, null), "options is null");
    refuses(() -> Communicator.initAll(null), "devices is null");
    refuses(() -> Communicator.initAll(Arrays.asList(device, null)), "devices[1] is null");
    refuses(() -> Communicator.initAll(List.of(device), null), "options is null");
    refuses(() -> Communicator.world(null, options), "device is null");
    refuses(() -> Communicator.world(device, null), "options is null");
    refuses(() -> Communicator.group(null), "operations is null");
    refusesClosed(() -> Communicator.init(closed, id, 2, 0, options), "device");
    refusesClosed(() -> Communicator.initAll(List.of(device, closed)), "device");
    refusesClosed(() -> Communicator.world(closed, options), "device");
  }

  private interface Collective {
    void run(Communicator rank, Tensor src, Tensor dst);
  }

  /** Both tensors of each collective, one after the other, as every wrong tensor. */
  @Test
  void ofCollectives() throws Exception {
    Communicator rank = Communicator.initAll(List.of(device)).get(0);
    Tensor good = device.tensor(FP32, 4).fill(1);
    Tensor gone = device.tensor(FP32, 4);
    gone.close();
    MemorySegment memory = Arena.ofAuto().allocate(64, 8);
    Tensor gaps = Tensor.wrap(device, FP32, memory, new long[] {4, 1}, new long[] {2, 1});
    Tensor readOnly = Tensor.wrap(device, FP32, memory.asReadOnly(), 4);
    Tensor confined = Tensor.wrap(device, FP32, CompletableFuture.supplyAsync(() -> Arena.ofConfined().allocate(64, 8)).get(), 4);
    for (Collective call : List.<Collective>of((r, src, dst) -> r.allReduce(src, dst, ReduceOp.SUM), Communicator::allGather,
        (r, src, dst) -> r.reduceScatter(src, dst, ReduceOp.SUM))) {
      Tensor out = device.tensor(FP32, 4).fill(UNTOUCHED);
      refuses(() -> call.run(rank, null, out), "src is null");
      refuses(() -> call.run(rank, good, null), "dst is null");
      refuses(() -> call.run(rank, other.tensor(FP32, 4), out), "src belongs to another device");
      refuses(() -> call.run(rank, good, other.tensor(FP32, 4)), "dst belongs to another device");
      refuses(() -> call.run(rank, device.tensor(BF16, 4), out), "type of src, BF16");
      refuses(() -> call.run(rank, device.tensor(FP32, 5), out), "is [", "elements, on rank 0 of 1");
      refuses(() -> call.run(rank, good, device.tensor(FP32, 5)), "is [", "elements, on rank 0 of 1");
      refuses(() -> call.run(rank, gaps, out), "src is [4, 1] FP32 strides [2, 1]", "without gaps");
      refuses(() -> call.run(rank, good, gaps), "dst is [4, 1] FP32 strides [2, 1]", "without gaps");
      refuses(() -> call.run(rank, good, readOnly), "dst is [4] FP32, read-only");
      refuses(() -> call.run(rank, confined, out), "src wraps memory that is confined");
      refusesClosed(() -> call.run(rank, gone, out), "src is closed");
      refusesClosed(() -> call.run(rank, good, gone), "dst is closed");
      assertThat(out.toDoubles()).containsOnly(UNTOUCHED);
    }
    refuses(() -> rank.allReduce(good, good, null), "op is null");
    refuses(() -> rank.reduceScatter(good, good, null), "op is null");
    refuses(() -> rank.reduceScatter(device.tensor(INT32, 4), device.tensor(INT32, 4), ReduceOp.AVERAGE), "op is AVERAGE");
    refuses(() -> rank.broadcast(null, 0), "tensor is null");
    refuses(() -> rank.broadcast(good, -1), "root is -1");
    refuses(() -> rank.broadcast(gaps, 0), "tensor is [4, 1]");
    List<Communicator> two = Communicator.initAll(List.of(device, device));
    Communicator first = two.get(0);
    for (int peer : new int[] {-1, 0, 2, MAX}) {
      refuses(() -> first.send(good, peer), "peer is " + peer);
      refuses(() -> first.receive(good, peer), "peer is " + peer);
    }
    refuses(() -> first.send(null, 1), "tensor is null");
    refuses(() -> first.receive(null, 1), "tensor is null");
    refuses(() -> first.receive(readOnly, 1), "tensor is [4] FP32, read-only");
    refuses(() -> first.broadcast(readOnly, 1), "tensor is [4] FP32, read-only");
    assertThat(first.asyncError()).isEmpty();
    rank.allReduce(good, good, ReduceOp.SUM);
    rank.close();
    for (ThrowingCallable use : List.<ThrowingCallable>of(() -> rank.allReduce(good, good, ReduceOp.SUM),
        () -> rank.allGather(good, good), () -> rank.reduceScatter(good, good, ReduceOp.SUM), () -> rank.broadcast(good, 0),
        rank::barrier)) {
      refusesClosed(use, "communicator");
    }
  }

  @Test
  void ofPipelines() {
    PipelineOptions options = new PipelineOptions(1, 8, FP32, Wire.EXACT);
    refuses(() -> new PipelineOptions(-1, 8, FP32, Wire.EXACT), "tokens is -1");
    refuses(() -> new PipelineOptions(1L << 31, 8, FP32, Wire.EXACT), "tokens is 2147483648");
    refuses(() -> new PipelineOptions(1, 0, FP32, Wire.EXACT), "width is 0");
    refuses(() -> new PipelineOptions(1, 1L << 31, FP32, Wire.EXACT), "width is 2147483648");
    refuses(() -> new PipelineOptions(1, 8, null, Wire.EXACT), "type is null");
    refuses(() -> new PipelineOptions(1, 8, INT32, Wire.EXACT), "type is INT32");
    refuses(() -> new PipelineOptions(1, 8, FP32, null), "wire is null");
    refuses(() -> options.withSegment(-1), "segment is -1");
    refuses(() -> options.withSegment(4097), "segment is 4097");

    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(1, 1);
    for (int wrong : new int[] {-1, 0, MAX}) {
      refuses(() -> PipelineSchedule.forwardOnly(wrong, 1), "ranks is " + wrong);
      refuses(() -> PipelineSchedule.oneForwardOneBackward(1, wrong), "microBatches is " + wrong);
      refuses(() -> new PipelineSchedule(1, wrong, 1, true, schedule.steps()), "directions is " + wrong);
    }
    refuses(() -> PipelineSchedule.bothEnds(1 << 16, 1 << 16), "microBatches is 65536");
    refuses(() -> new PipelineSchedule(1, 1, 1, true, null), "steps is null");
    refuses(() -> new PipelineSchedule(1, 1, 1, true, Arrays.asList((List<Step>) null)), "steps[0] is null");
    refuses(() -> new PipelineSchedule(1, 1, 1, true, List.of(Arrays.asList((Step) null))), "steps[0][0] is null");
    refuses(() -> new Step(null, 0, 0), "kind is null");
    refuses(() -> schedule.stage(1, 0), "rank is 1");
    refuses(() -> schedule.stage(0, 1), "direction is 1");
    refuses(() -> schedule.inFlight(-1), "rank is -1");
    ofStages(schedule, options);
  }

  private void ofStages(PipelineSchedule schedule, PipelineOptions options) {
    HyperConnectionConfig config = Preset.PAPER.config(4);
    Parameters parameters = Parameters.initialize(device, config, 8, 1);
    HyperConnection layer = HyperConnection.create(device, config, parameters);
    HyperConnection gone = HyperConnection.create(device, config, parameters);
    gone.close();
    PipelineModel model = Pipelines.part(device, 0, 1, new Pipelines.Results()).model();
    Gradients gradients = Gradients.like(parameters);
    var part = new PipelineStage.Part(List.of(layer), List.of(), model);
    refuses(() -> new PipelineStage.Part(null, List.of(), model), "layers is null");
    refuses(() -> new PipelineStage.Part(Arrays.asList(layer, null), List.of(), model), "layers[1] is null");
    refuses(() -> new PipelineStage.Part(List.of(layer), null, model), "gradients is null");
    refuses(() -> new PipelineStage.Part(List.of(layer), Arrays.asList((Gradients) null), model), "gradients[0] is null");
    refuses(() -> new PipelineStage.Part(List.of(layer), List.of(gradients, gradients), model), "gradients has 2");
    refuses(() -> new PipelineStage.Part(List.of(layer), List.of(), null), "model is null");

    Communicator alone = Communicator.initAll(List.of(device)).get(0);
    refuses(() -> PipelineStage.create(null, schedule, options, List.of(part)), "communicator is null");
    refuses(() -> PipelineStage.create(alone, null, options, List.of(part)), "schedule is null");
    refuses(() -> PipelineStage.create(alone, schedule, null, List.of(part)), "options is null");
    refuses(() -> PipelineStage.create(alone, schedule, options, null), "parts is null");
    refuses(() -> PipelineStage.create(alone, schedule, options, Arrays.asList((PipelineStage.Part) null)), "parts[0] is null");
    refuses(() -> PipelineStage.create(alone, schedule, options, List.of(part, part)), "parts has 2");
    refuses(() -> PipelineStage.create(alone, schedule, new PipelineOptions(1, 9, FP32, Wire.EXACT), List.of(part)),
        "parts[0].layers[0] is for width 8");
    refusesClosed(() -> PipelineStage.create(alone, schedule, options,
        List.of(new PipelineStage.Part(List.of(gone), List.of(), model))), "parts[0].layers[0]");
    Tensor bias = device.tensor(FP32, config.mixCount());
    Tensor ended = device.tensor(FP32, config.mixCount());
    ended.close();
    for (Tensor wrong : new Tensor[] {device.tensor(FP32, 1), device.tensor(BF16, config.mixCount()),
        other.tensor(FP32, config.mixCount())}) {
      refuses(() -> stage(alone, schedule, options, part, new Gradients(null, null, wrong, null)), "parts[0].gradients[0].bias ");
    }
    refusesClosed(() -> stage(alone, schedule, options, part, new Gradients(null, null, ended, null)), "parts[0].gradients[0].bias");
    refuses(() -> stage(alone, schedule, options, part, new Gradients(null, null, null, bias)),
        "parts[0].gradients[0].normWeight is", "the layer has no such parameter");
    alone.close();
    refusesClosed(() -> PipelineStage.create(alone, schedule, options, List.of(part)), "communicator");
  }

  private static void stage(Communicator alone, PipelineSchedule schedule, PipelineOptions options, PipelineStage.Part part,
      Gradients gradients) {
    PipelineStage.create(alone, schedule, options,
        List.of(new PipelineStage.Part(part.layers(), List.of(gradients), part.model()))).close();
  }
}
