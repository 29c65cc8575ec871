// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.mhc.PipelineOptions.Wire;
import dev.mhc.examples.Pipeline;
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
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
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

  @DisabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  @Test
  void example() {
    Pipeline.main();
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
      refused(() -> PipelineStage.create(elsewhere, schedule, Pipelines.BF16, List.of(part)), "layers are on");
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
