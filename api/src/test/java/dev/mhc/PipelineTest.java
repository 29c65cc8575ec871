// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import dev.mhc.PipelineOptions.Wire;
import dev.mhc.examples.WholeProgram;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pipelines whose ranks are threads of this process; under mpirun they are in {@link MpiTest}. */
class PipelineTest {
  private static Device device;

  @BeforeAll
  static void open() {
    device = own();
  }

  private static Device own() {
    return TestDevice.isCuda() ? TestDevice.cuda() : Device.cpu(CpuOptions.DEFAULT.withThreads(1));
  }

  /** Of so many ranks: those on a CPU share it. */
  private static List<Communicator> communicators(int ranks) {
    if (ranks > 1) {
      TestDevice.needRanksOnOneGpu(device);
    }
    return Communicator.initAll(Stream.generate(() -> TestDevice.isCuda() ? own() : device).limit(ranks).toList());
  }

  @AfterAll
  static void close() {
    device.close();
  }

  @ParameterizedTest
  @CsvSource({"2, 4, 3", "4, 8, 6", "4, 4, 1", "3, 6, 8"})
  void stagesMakeTheBitsOfTheirLayers(int ranks, int layers, int microBatches) throws Exception {
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(ranks, microBatches);
    Pipelines.Results single = Pipelines.single(device, layers, ranks, microBatches, 1, true);
    Pipelines.Results all = union(run(schedule, Pipelines.BF16, layers));
    Pipelines.assertSame(all, single);
    assertThat(all.keySet()).isEqualTo(single.keySet());
    assertThat(all).hasSize(layers * microBatches + 2 * microBatches + 2 * layers);
  }

  /** Forward and backward: h, gradients of the residual and of the parameters. */
  @Test
  void anyNumberOfRanksMakesTheSameBits() throws Exception {
    PipelineOptions options = Pipelines.BF16.withSegment(2);
    Pipelines.Results one = union(run(PipelineSchedule.oneForwardOneBackward(1, 5), options, 8));
    assertThat(one).hasSize(8 * 5 + 2 * 5 + 2 * 8);
    for (int ranks : new int[] {2, 4}) {
      Pipelines.Results all = union(run(PipelineSchedule.oneForwardOneBackward(ranks, 5), options, 8));
      assertThat(all.keySet()).isEqualTo(one.keySet());
      Pipelines.assertSame(all, one);
    }
    Pipelines.Results unrounded = union(run(PipelineSchedule.oneForwardOneBackward(1, 5), Pipelines.BF16, 8));
    assertThat(unrounded.get("x.0")).as("forward it makes no difference").isEqualTo(one.get("x.0"));
    assertThat(unrounded.get("dX.0")).as("backward it does").isNotEqualTo(one.get("dX.0"));
  }

  /** What the last stage makes of a micro-batch is held back: the first has rebuilt its own meanwhile. */
  @Test
  void theRebuildDoesNotWaitForTheTransfer() {
    StandIn.require();
    StandIn.trace(true);
    late(PipelineSchedule.forwardOnly(2, 1), 0);
    long forward = kernels();
    StandIn.trace(true);
    late(PipelineSchedule.oneForwardOneBackward(2, 1), forward);
    StandIn.trace(false);
  }

  private static long kernels() {
    return StandIn.traced().stream().filter("0 kernel"::equals).count();
  }

  /** Two ranks with a model whose end takes until as many kernels have run, and one more. */
  private static void late(PipelineSchedule schedule, long kernels) {
    assertThat(failures(communicators(2), communicator -> {
      PipelineStage.Part part = Pipelines.part(communicator.device(), communicator.rank(), 1, new Pipelines.Results());
      var patient = new PipelineStage.Part(part.layers(), part.gradients(), new Late(part.model(), kernels));
      try (PipelineStage stage = PipelineStage.create(communicator, schedule, Pipelines.BF16, List.of(patient))) {
        stage.run();
      }
    })).containsOnlyNulls();
  }

  private record Late(PipelineModel model, long kernels) implements PipelineModel {
    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      model.forward(microBatch, layer, h, f);
    }

    @Override
    public void backward(int microBatch, int layer, Tensor h, Tensor dF, Tensor dH) {
      model.backward(microBatch, layer, h, dF, dH);
    }

    @Override
    public void begin(int microBatch, Tensor x) {
      model.begin(microBatch, x);
    }

    @Override
    public void end(int microBatch, Tensor x) {
      model.end(microBatch, x);
    }

    @Override
    public void end(int microBatch, Tensor x, Tensor dX) {
      model.end(microBatch, x, dX);
      long end = System.nanoTime() + 30_000_000_000L;
      while (PipelineTest.kernels() <= kernels && System.nanoTime() < end) {
        java.util.concurrent.locks.LockSupport.parkNanos(1_000_000);
      }
      assertThat(PipelineTest.kernels()).as("the first stage's, done while it waits for the gradient").isGreaterThan(kernels);
    }
  }

  /** Of what piles up, what follows a feed-forward layer is done first. */
  @Test
  void whatFollowsAFeedForwardLayerComesFirst() {
    StandIn.require();
    Device own = own();
    try (Communicator alone = Communicator.initAll(List.of(own)).get(0); dev.mhc.Stream other = dev.mhc.Stream.create(own)) {
      PipelineStage.Part part = Pipelines.part(own, 0, 3, new Pipelines.Results());
      Tensor busy = own.tensor(DType.FP32, 4);
      Tensor source = own.tensor(DType.FP32, 4);
      PipelineModel model = new PipelineModel() {
        @Override
        public boolean isFeedForward(int layer) {
          return layer == 1;
        }

        @Override
        public void forward(int microBatch, int layer, Tensor h, Tensor f) {
          f.copyFromAsync(h);
          other.run(() -> IntStream.range(0, 20).forEach(i -> busy.copyFromAsync(source)));
        }

        @Override
        public void begin(int microBatch, Tensor x) {}
      };
      var alike = new PipelineStage.Part(part.layers(), List.of(), model);
      List<String> order;
      try (PipelineStage stage = PipelineStage.create(alone, PipelineSchedule.forwardOnly(1, 1), Pipelines.BF16,
          List.of(alike))) {
        stage.run(); // what is allocated is
        own.synchronize();
        StandIn.trace(true);
        StandIn.hold(true);
        try {
          stage.run();
        } finally {
          StandIn.hold(false);
        }
        own.synchronize();
        order = StandIn.traced();
        StandIn.trace(false);
      }
      int begins = order.indexOf("-5 wait");
      int ends = order.lastIndexOf("-5 record");
      assertThat(order.subList(begins, ends + 1)).as("nothing else from its wait to its end")
          .allMatch(work -> work.startsWith("-5")).contains("-5 kernel");
      assertThat(order.stream().filter("0 memcpy"::equals)).hasSize(63);
      assertThat(order.subList(0, begins)).contains("0 kernel");
      assertThat(order.subList(ends, order.size())).as("the other stream was not done, nor this one").contains("0 memcpy",
          "0 kernel");
    }
    own.close();
  }

  @Test
  void forwardOnly() throws Exception {
    Pipelines.Results single = Pipelines.single(device, 8, 4, 5, 1, false);
    List<Pipelines.Results> results = run(PipelineSchedule.forwardOnly(4, 5), Pipelines.BF16, 8);
    assertThat(results.get(3)).containsKeys("x.0", "x.4");
    single.keySet().removeIf(name -> !name.startsWith("x."));
    Pipelines.Results last = results.get(3);
    last.keySet().removeIf(name -> !name.startsWith("x."));
    Pipelines.assertSame(last, single);
  }

  /** Two replicas, each fed with every second micro-batch: what leaves them is as in one, and so are their gradients. */
  @Test
  void bothEnds() throws Exception {
    Pipelines.Results all = union(run(PipelineSchedule.bothEnds(4, 8), Pipelines.BF16, 8));
    Pipelines.Results single = Pipelines.single(device, 8, 4, 8, 2, true);
    Pipelines.assertSame(all, single);
    assertThat(all.keySet()).isEqualTo(single.keySet());
  }

  /** In FP8 a residual loses no more than 1/16 of itself at each of the three hops, and the mixing does not add to it. */
  @Test
  void fp8OnTheWire() throws Exception {
    var options = new PipelineOptions(Pipelines.TOKENS, Pipelines.WIDTH, DType.BF16, Wire.FP8);
    Pipelines.Results all = union(run(PipelineSchedule.oneForwardOneBackward(4, 3), options, 4));
    Pipelines.Results single = Pipelines.single(device, 4, 4, 3, 1, true);
    for (int m = 0; m < 3; m++) {
      double[] exact = decode(single.get("x." + m));
      double[] rough = decode(all.get("x." + m));
      double error = 0;
      double size = 0;
      for (int i = 0; i < exact.length; i++) {
        error += Math.pow(exact[i] - rough[i], 2);
        size += exact[i] * exact[i];
      }
      assertThat(Math.sqrt(error / size)).isGreaterThan(1e-4).isLessThan(0.06);
    }
  }

  @Test
  void anExceptionOfTheModelEndsAllRanks() {
    List<Communicator> communicators = communicators(3);
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(3, 4);
    List<Throwable> failures = failures(communicators, communicator -> {
      PipelineStage.Part good = Pipelines.part(communicator.device(), communicator.rank(), 1, new Pipelines.Results());
      PipelineModel model = communicator.rank() == 1 ? (PipelineModel) new Broken() : good.model();
      var part = new PipelineStage.Part(good.layers(), good.gradients(), model);
      try (PipelineStage stage = PipelineStage.create(communicator, schedule, Pipelines.BF16, List.of(part))) {
        stage.run();
      }
    });
    assertThat(failures.get(1)).isInstanceOf(ArithmeticException.class).hasMessage("the model's own");
    assertThat(List.of(failures.get(0), failures.get(2))).allSatisfy(
        e -> assertThat(e).isInstanceOf(CommunicatorException.class).hasMessageContaining("rank 1 has aborted"));
  }

  @Test
  void ranksThatDoNotAgree() {
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(3, 4);
    for (boolean schedules : new boolean[] {true, false}) {
      List<Throwable> failures = failures(communicators(3), communicator -> {
        boolean other = communicator.rank() == 2;
        PipelineStage.Part part = Pipelines.part(communicator.device(), communicator.rank(), 1, new Pipelines.Results());
        try {
          PipelineStage.create(communicator, schedules && other ? PipelineSchedule.forwardOnly(3, 4) : schedule,
              !schedules && other ? Pipelines.BF16.withSegment(1) : Pipelines.BF16, List.of(part)).close();
        } catch (CommunicatorException e) {
          communicator.barrier(); // is good still
          throw e;
        }
      });
      assertThat(failures).allSatisfy(e -> assertThat(e).isInstanceOf(CommunicatorException.class).hasMessageStartingWith(
          "MISMATCH: rank 2 has another " + (schedules ? "schedule than rank 0" : "PipelineOptions, or number of streams,")));
    }
  }

  @Test
  void itEndsWithItsDevice() {
    Device own = own();
    Communicator alone = Communicator.initAll(List.of(own)).get(0);
    PipelineStage stage = PipelineStage.create(alone, PipelineSchedule.forwardOnly(1, 1), Pipelines.BF16,
        List.of(Pipelines.part(own, 0, 2, new Pipelines.Results())));
    stage.run();
    own.close();
    assertThat(stage.isClosed()).isTrue();
    stage.close();
    assertThatIllegalStateException().isThrownBy(stage::run).withMessage("the PipelineStage is closed");
  }

  private static final class Broken implements PipelineModel {
    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      if (microBatch == 1) {
        throw new ArithmeticException("the model's own");
      }
      f.copyFrom(h);
    }

    @Override
    public void begin(int microBatch, Tensor x) {}
  }

  @Test
  void itUsesItsTensorsAgainAndFreesThem() throws Exception {
    Device own = own();
    try (Communicator alone = Communicator.initAll(List.of(own)).get(0)) {
      PipelineStage.Part part = Pipelines.part(own, 0, 2, new Pipelines.Results() {
        private static final long serialVersionUID = 1L;

        @Override
        void keep(String name, Tensor tensor) {}
      });
      PipelineStage warm = PipelineStage.create(alone, PipelineSchedule.oneForwardOneBackward(1, 1), Pipelines.BF16,
          List.of(part));
      warm.run();
      warm.close();
      long before = own.liveBytes(); // with what the layers keep for their backward
      PipelineStage stage = PipelineStage.create(alone, PipelineSchedule.oneForwardOneBackward(1, 3), Pipelines.BF16,
          List.of(part));
      stage.run();
      long running = own.liveBytes();
      for (int i = 0; i < 5; i++) {
        stage.run();
      }
      assertThat(own.liveBytes()).isEqualTo(running).isGreaterThan(before);
      stage.close();
      stage.close();
      assertThat(own.liveBytes()).isEqualTo(before);
      assertThatIllegalStateException().isThrownBy(stage::run).withMessage("the PipelineStage is closed");
    }
    own.close();
  }

  /** The program of the README, on the device under test, which its argument names. */
  @Test
  void wholeProgram() throws Exception {
    TestDevice.needRanksOnOneGpu(device);
    var output = new java.io.ByteArrayOutputStream();
    java.io.PrintStream before = System.out;
    System.setOut(new java.io.PrintStream(output, true));
    try {
      WholeProgram.main(TestDevice.isCuda() ? "cuda:0" : "cpu");
    } finally {
      System.setOut(before);
    }
    assertWholeProgram(output.toString().lines().toList());
  }

  /** Rows of 0.5 and 0.25; an update of the RMS that Muon's preset has; with F(h) = h, what the layers make of equal streams. */
  static void assertWholeProgram(List<String> lines) {
    assertThat(lines).hasSize(10).contains("FP8 product: 16.0");
    assertThat(lines).anySatisfy(line -> assertThat(value("orthogonal update: ", line)).isCloseTo(0.02 * 0.18, within(4e-4)));
    for (int m = 0; m < 8; m++) {
      String start = "stage 3, micro-batch " + m + ": ";
      assertThat(lines).anySatisfy(line -> assertThat(value(start, line)).isGreaterThan(0.5).isFinite());
    }
  }

  private static double value(String start, String line) {
    assertThat(line).startsWith(start);
    return Double.parseDouble(line.substring(start.length()));
  }

  @Test
  void wrongArguments() {
    Communicator alone = Communicator.initAll(List.of(device)).get(0);
    PipelineStage.Part part = Pipelines.part(device, 0, 2, new Pipelines.Results());
    PipelineSchedule schedule = PipelineSchedule.forwardOnly(1, 2);
    refused(() -> PipelineStage.create(alone, PipelineSchedule.forwardOnly(2, 2), Pipelines.BF16, List.of(part)),
        "schedule is for 2 ranks; expected 1");
    refused(() -> PipelineStage.create(alone, schedule, Pipelines.BF16, List.of()), "parts has 0; expected 1");
    refused(() -> PipelineStage.create(alone, null, Pipelines.BF16, List.of(part)), "schedule is null");
    refused(() -> new PipelineStage.Part(List.of(), List.of(), part.model()), "layers.size() is 0");
    refused(() -> new PipelineStage.Part(part.layers(), part.gradients().subList(0, 1), part.model()),
        "gradients has 1; expected 2");
    refused(() -> new PipelineOptions(1, 0, DType.BF16, Wire.EXACT), "width is 0");
    refused(() -> new PipelineOptions(1, 1, DType.FP8_E4M3, Wire.EXACT), "type is FP8_E4M3");
    HyperConnectionConfig shifted = HyperConnectionConfig.Preset.DEEPSEEK_V4_1.config(4);
    HyperConnection layer = HyperConnection.create(device, shifted, Parameters.initialize(device, shifted, 8, 1));
    refused(() -> new PipelineStage.Part(List.of(layer), List.of(), part.model()), "expected a config that is not shifted");
    try (Device other = Device.cpu()) {
      Communicator elsewhere = Communicator.initAll(List.of(other)).get(0);
      refused(() -> PipelineStage.create(elsewhere, schedule, Pipelines.BF16, List.of(part)), "parts[0].layers[0] is on");
    }
  }

  private interface Work {
    void run(Communicator communicator);
  }

  private static List<Pipelines.Results> run(PipelineSchedule schedule, PipelineOptions options, int layers) {
    List<Communicator> communicators = communicators(schedule.ranks());
    var results = new Pipelines.Results[schedule.ranks()];
    assertThat(failures(communicators,
        communicator -> results[communicator.rank()] = Pipelines.run(communicator, schedule, options, layers)))
        .containsOnlyNulls();
    return List.of(results);
  }

  private static List<Throwable> failures(List<Communicator> communicators, Work work) {
    var failures = new ArrayList<Throwable>();
    try (var pool = Executors.newFixedThreadPool(communicators.size())) {
      List<Future<Void>> ranks = new ArrayList<>();
      IntStream.range(0, communicators.size()).forEach(rank -> ranks.add(pool.submit((Callable<Void>) () -> {
        work.run(communicators.get(rank));
        return null;
      })));
      for (Future<Void> rank : ranks) {
        try {
          rank.get();
          failures.add(null);
        } catch (ExecutionException e) {
          failures.add(e.getCause());
        } catch (InterruptedException e) {
          throw new AssertionError(e);
        }
      }
    }
    communicators.forEach(Communicator::close);
    if (TestDevice.isCuda()) {
      communicators.forEach(each -> each.device().close());
    }
    return failures;
  }

  private static Pipelines.Results union(List<Pipelines.Results> results) {
    var all = new Pipelines.Results();
    results.forEach(each -> each.forEach((name, bytes) -> assertThat(all.put(name, bytes)).as(name).isNull()));
    return all;
  }

  private static double[] decode(byte[] bytes) {
    try (Device cpu = Device.cpu(); Tensor tensor = cpu.tensor(DType.BF16, bytes.length / 2)) {
      tensor.segment().copyFrom(java.lang.foreign.MemorySegment.ofArray(bytes));
      return tensor.toDoubles();
    }
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
