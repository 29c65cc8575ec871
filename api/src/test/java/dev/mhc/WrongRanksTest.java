// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.mhc.PipelineOptions.Wire;
import dev.mhc.PipelineSchedule.Step;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What ranks and pipelines refuse, on every device: the argument's name, its value, and what was expected. */
class WrongRanksTest {
  private static final CommunicatorOptions OPTIONS = CommunicatorOptions.DEFAULT;

  private Device device;
  private Device second;
  private List<Communicator> ranks;
  private Communicator rank;

  @BeforeEach
  void open() {
    device = TestDevice.open();
    second = TestDevice.open();
    TestDevice.needRanksOnOneGpu(device);
    ranks = Communicator.initAll(List.of(device, second));
    rank = ranks.get(0);
  }

  @AfterEach
  void close() {
    if (rank != null) { // else there is nothing to run on
      assertThat(rank.asyncError()).as("what is refused changes nothing").isEmpty();
      ranks.forEach(Communicator::close);
    }
    device.close();
    second.close();
  }

  @Test
  void ids() {
    refused(() -> UniqueId.of(null), "bytes is null; expected 128 bytes");
    refused(() -> UniqueId.of(new byte[127]), "bytes has 127 bytes; expected 128");
    refused(() -> Communicator.uniqueId(null), "device is null; expected a Device");
    refused(() -> new CommunicatorOptions(null), "timeout is null; expected a Duration");
    refused(() -> new CommunicatorOptions(Duration.ofSeconds(-1)), "timeout is PT-1S; expected more than 0");
    refused(() -> OPTIONS.withTimeout(null), "timeout is null");
  }

  @Test
  void making() {
    UniqueId id = Communicator.uniqueId(device);
    refused(() -> Communicator.init(null, id, 1, 0, OPTIONS), "device is null; expected a Device");
    refused(() -> Communicator.init(device, null, 1, 0, OPTIONS), "id is null; expected a UniqueId");
    refused(() -> Communicator.init(device, id, 0, 0, OPTIONS), "ranks is 0; expected 1 to");
    refused(() -> Communicator.init(device, id, 2, -1, OPTIONS), "rank is -1; expected 0 to 1");
    refused(() -> Communicator.init(device, id, 2, 2, OPTIONS), "rank is 2; expected 0 to 1");
    refused(() -> Communicator.init(device, id, 1, 0, null), "options is null; expected CommunicatorOptions");
    refused(() -> Communicator.initAll(null), "devices is null; expected a list of devices");
    refused(() -> Communicator.initAll(List.of()), "devices.size() is 0; expected 1 to");
    refused(() -> Communicator.initAll(Arrays.asList(device, null)), "devices[1] is null; expected a Device");
    refused(() -> Communicator.initAll(List.of(device), null), "options is null");
    refused(() -> Communicator.world(null, OPTIONS), "device is null");
    refused(() -> Communicator.world(device, null), "options is null");
    refused(() -> Communicator.group(null), "operations is null; expected what to run");
  }

  @Test
  void tensors() {
    Tensor x = device.tensor(DType.FP32, 6);
    Tensor y = device.tensor(DType.FP32, 3);
    Tensor half = device.tensor(DType.BF16, 6);
    Tensor gaps = device.tensor(DType.FP32, 2, 3).slice(1, 0, 2);
    Tensor elsewhere = second.tensor(DType.FP32, 6);
    refused(() -> rank.allReduce(null, x, ReduceOp.SUM), "src is null; expected a tensor");
    refused(() -> rank.allReduce(x, null, ReduceOp.SUM), "dst is null; expected a tensor");
    refused(() -> rank.allReduce(x, x, null), "op is null; expected a ReduceOp");
    refused(() -> rank.allReduce(x, y, ReduceOp.SUM), "dst is [3] FP32; expected 6 elements, on rank 0 of 2");
    refused(() -> rank.allReduce(x, half, ReduceOp.SUM), "dst is [6] BF16; expected the type of src, FP32");
    refused(() -> rank.allReduce(x, elsewhere, ReduceOp.SUM), "dst belongs to another device");
    refused(() -> rank.allReduce(gaps, gaps, ReduceOp.SUM), "expected row-major elements without gaps");
    refused(() -> rank.allReduce(x.slice(0, 0, 4), x.slice(0, 2, 6), ReduceOp.SUM), "dst is [4] FP32, in memory that src");
    Tensor integers = device.tensor(DType.INT32, 2);
    refused(() -> rank.allReduce(integers, integers, ReduceOp.AVERAGE), "op is AVERAGE; expected SUM, MIN or MAX");
    Tensor powers = device.tensor(DType.E8M0, 2);
    refused(() -> rank.allReduce(powers, powers, ReduceOp.MAX), "src is [2] E8M0; expected elements that can be combined");
    refused(() -> rank.allGather(null, x), "src is null");
    refused(() -> rank.allGather(y, null), "dst is null");
    refused(() -> rank.allGather(x, y), "dst is [3] FP32; expected 12 elements");
    refused(() -> rank.allGather(y, half), "dst is [6] BF16; expected the type of src, FP32");
    refused(() -> rank.allGather(x.slice(0, 1, 3), x.slice(0, 2, 6)), "in memory that src");
    refused(() -> rank.reduceScatter(null, y, ReduceOp.SUM), "src is null");
    refused(() -> rank.reduceScatter(x, null, ReduceOp.SUM), "dst is null");
    refused(() -> rank.reduceScatter(x, y, null), "op is null");
    refused(() -> rank.reduceScatter(y, x, ReduceOp.SUM), "src is [3] FP32; expected 12 elements");
    refused(() -> rank.reduceScatter(x, x.slice(0, 1, 4), ReduceOp.SUM), "in memory that src");
    refused(() -> rank.broadcast(null, 0), "tensor is null");
    refused(() -> rank.broadcast(x, 2), "root is 2; expected 0 to 1");
    refused(() -> rank.broadcast(x, -1), "root is -1; expected 0 to 1");
    refused(() -> rank.send(null, 1), "tensor is null");
    refused(() -> rank.send(x, 0), "peer is 0, this rank itself; expected another");
    refused(() -> rank.send(x, 2), "peer is 2; expected 0 to 1");
    refused(() -> rank.send(elsewhere, 1), "tensor belongs to another device");
    refused(() -> rank.receive(null, 1), "tensor is null");
    refused(() -> rank.receive(x, -1), "peer is -1; expected 0 to 1");
    refused(() -> rank.receive(gaps, 1), "expected row-major elements without gaps");
    y.close();
    assertThatIllegalStateException().isThrownBy(() -> rank.send(y, 1)).withMessageContaining("tensor is closed");
  }

  @Test
  void closedOnes() {
    Tensor x = device.tensor(DType.FP32, 6);
    try (Device other = TestDevice.open()) {
      Communicator closed = Communicator.initAll(List.of(other)).get(0);
      closed.close();
      closed.close();
      closed.abort();
      assertThat(closed.isClosed()).isTrue();
      assertThat(closed.asyncError()).isEmpty();
      Tensor own = other.tensor(DType.FP32, 6);
      for (Runnable use : List.<Runnable>of(() -> closed.allReduce(own, own, ReduceOp.SUM), () -> closed.allGather(own, own),
          () -> closed.reduceScatter(own, own, ReduceOp.SUM), () -> closed.broadcast(own, 0), closed::barrier)) {
        assertThatIllegalStateException().isThrownBy(use::run).withMessage("the communicator is closed");
      }
      PipelineStage.Part part = Pipelines.part(other, 0, 1, new Pipelines.Results());
      assertThatIllegalStateException().isThrownBy(() -> PipelineStage.create(closed, PipelineSchedule.forwardOnly(1, 1),
          Pipelines.BF16, List.of(part))).withMessage("the communicator is closed");
    }
    x.close();
  }

  @Test
  void options() {
    refused(() -> new PipelineOptions(-1, 1, DType.BF16, Wire.EXACT), "tokens is -1; expected 0 to");
    refused(() -> new PipelineOptions(1, 0, DType.BF16, Wire.EXACT), "width is 0; expected 1 to");
    refused(() -> new PipelineOptions(1, 1, null, Wire.EXACT), "type is null; expected a DType");
    refused(() -> new PipelineOptions(1, 1, DType.FP8_E4M3, Wire.EXACT), "type is FP8_E4M3; expected BF16 or FP16 or FP32");
    refused(() -> new PipelineOptions(1, 1, DType.BF16, null), "wire is null; expected a Wire");
    refused(() -> Pipelines.BF16.withSegment(-1), "segment is -1; expected 0 to 4096");
  }

  @Test
  void schedules() {
    PipelineSchedule schedule = PipelineSchedule.forwardOnly(2, 2);
    refused(() -> schedule.stage(2, 0), "rank is 2; expected 0 to 1");
    refused(() -> schedule.stage(-1, 0), "rank is -1; expected 0 to 1");
    refused(() -> schedule.stage(0, 1), "direction is 1; expected 0 to 0");
    refused(() -> schedule.inFlight(2), "rank is 2; expected 0 to 1");
    refused(() -> PipelineSchedule.forwardOnly(0, 1), "ranks is 0; expected 1 to 65536");
    refused(() -> PipelineSchedule.oneForwardOneBackward(1, 0), "microBatches is 0; expected 1 to 1048576");
    refused(() -> PipelineSchedule.bothEnds(1 << 16, 1 << 20), "microBatches is 1048576; expected at most 64, with 65536 ranks");
    refused(() -> new PipelineSchedule(1 << 16, 1, 1 << 20, true, List.of()), "microBatches is 1048576; expected at most 64");
    refused(() -> new PipelineSchedule(1, 3, 1, true, List.of()), "directions is 3; expected 1 to 2");
    refused(() -> new PipelineSchedule(1, 1, 1, true, null), "steps is null; expected a list for each rank");
    refused(() -> new PipelineSchedule(1, 1, 1, true, Arrays.asList((List<Step>) null)), "steps[0] is null");
    refused(() -> new PipelineSchedule(1, 1, 1, true, List.of(Arrays.asList(Step.forward(0, 0), null))),
        "steps[0][1] is null; expected a Step");
    refused(() -> new Step(null, 0, 0), "kind is null; expected a Kind");
  }

  @Test
  void parts() {
    PipelineStage.Part part = Pipelines.part(device, 0, 2, new Pipelines.Results());
    refused(() -> new PipelineStage.Part(null, List.of(), part.model()), "layers is null");
    refused(() -> new PipelineStage.Part(List.of(), List.of(), part.model()), "layers.size() is 0; expected 1 to 4096");
    refused(() -> new PipelineStage.Part(part.layers(), null, part.model()), "gradients is null");
    refused(() -> new PipelineStage.Part(part.layers(), List.of(), null), "model is null; expected a PipelineModel");
    refused(() -> new PipelineStage.Part(part.layers(), part.gradients().subList(0, 1), part.model()),
        "gradients has 1; expected 2");
    refused(() -> new PipelineStage.Part(Arrays.asList((HyperConnection) null), List.of(), part.model()), "layers[0] is null");
    refused(() -> new PipelineStage.Part(part.layers().subList(0, 1), Arrays.asList((Gradients) null), part.model()),
        "gradients[0] is null");
  }

  @Test
  void stages() {
    PipelineStage.Part part = Pipelines.part(device, 0, 1, new Pipelines.Results());
    PipelineSchedule two = PipelineSchedule.forwardOnly(2, 1);
    PipelineOptions options = Pipelines.BF16;
    refused(() -> PipelineStage.create(null, two, options, List.of(part)), "communicator is null; expected a Communicator");
    refused(() -> PipelineStage.create(rank, null, options, List.of(part)), "schedule is null; expected a PipelineSchedule");
    refused(() -> PipelineStage.create(rank, two, null, List.of(part)), "options is null; expected PipelineOptions");
    refused(() -> PipelineStage.create(rank, two, options, null), "parts is null; expected a list of parts");
    refused(() -> PipelineStage.create(rank, two, options, Arrays.asList((PipelineStage.Part) null)), "parts[0] is null");
    refused(() -> PipelineStage.create(rank, two, options, List.of(part, part)), "parts has 2; expected 1");
    refused(() -> PipelineStage.create(rank, PipelineSchedule.forwardOnly(3, 1), options, List.of(part)),
        "schedule is for 3 ranks; expected 2");
    refused(() -> PipelineStage.create(rank, two, new PipelineOptions(5, 48, DType.BF16, Wire.EXACT), List.of(part)),
        "parts[0].layers[0] is for width 40; expected 48, the width of the options");
    PipelineStage.Part elsewhere = Pipelines.part(second, 0, 1, new Pipelines.Results());
    refused(() -> PipelineStage.create(rank, two, options, List.of(elsewhere)),
        "parts[0].layers[0] is on " + second + ", another device; expected that of the communicator");
    refused(() -> PipelineStage.create(rank, two, options, List.of(with(part, elsewhere.gradients().get(0)))),
        "parts[0].gradients[0].projection belongs to another device");
    Gradients good = part.gradients().get(0);
    var small = new Gradients(device.tensor(DType.FP32, 24, 80), good.scale(), good.bias(), null);
    refused(() -> PipelineStage.create(rank, two, options, List.of(with(part, small))),
        "parts[0].gradients[0].projection is [24, 80] FP32; expected the shape of the parameter, [24, 160] FP32");
    var more = new Gradients(good.projection(), good.scale(), good.bias(), device.tensor(DType.FP32, 160));
    refused(() -> PipelineStage.create(rank, two, options, List.of(with(part, more))),
        "parts[0].gradients[0].normWeight is [160] FP32; expected null");
    part.layers().get(0).close();
    assertThatIllegalStateException().isThrownBy(() -> PipelineStage.create(rank, two, options, List.of(part)))
        .withMessage("parts[0].layers[0] is closed");
  }

  private static PipelineStage.Part with(PipelineStage.Part part, Gradients gradients) {
    return new PipelineStage.Part(part.layers(), List.of(gradients), part.model());
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
