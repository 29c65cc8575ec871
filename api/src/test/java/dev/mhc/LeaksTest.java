// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import dev.mhc.bindings.VendorLibrary;
import java.io.ByteArrayOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class LeaksTest {
  private static final List<String> OWNERS = List.of("tensor", "hyper-connection", "Gemm", "Fp8Gemm", "Muon", "stream", "event",
      "graph", "communicator", "pipeline", "device");
  private static final Pattern LEAK = Pattern.compile("WARNING: leak: (.*?) became garbage without being closed");

  @Test
  void areReportedWithTheirPlaceOnRequest() throws Exception {
    assertThat(run("full")).contains("WARNING: leak: tensor [2, 3] FP32 became garbage without being closed",
        "created here", "dev.mhc.LeaksTest$Leaky.leak").doesNotContain("[4, 5]", "[6]", "[8]");
    assertThat(run("simple")).contains("leak: tensor [2, 3] FP32", "-Dmhc.leak.detection=full tells where")
        .doesNotContain("$Leaky.leak", "[4, 5]", "[6]", "[8]");
    assertThat(run("off")).doesNotContain("leak");
    assertThat(run("sometimes")).contains("mhc.leak.detection is \"sometimes\"; expected off, simple or full");
  }

  /** Of each kind one is closed by itself, one with its device, and one not at all. */
  @Test
  void ofEveryOwner() throws Exception {
    String output = run("full");
    Map<String, Integer> leaks = new TreeMap<>();
    LEAK.matcher(output).results().map(found -> found.group(1).split(" ")[0]).forEach(what -> leaks.merge(what, 1, Integer::sum));
    Map<String, Integer> expected = new TreeMap<>();
    OWNERS.forEach(what -> expected.put(what, 1));
    assertThat(leaks).as(output).isEqualTo(expected);
    assertThat(output.split("at .*LeaksTest\\$Leaky\\.leak", -1)).as("places in\n%s", output).hasSize(expected.size() + 1);
  }

  private static String run(String detection) throws IOException, InterruptedException {
    TestDevice.open().close(); // or the test is left out
    ChildJvm child = TestDevice.isCuda() ? TestDevice.standIns().options("-Dmhc.test.device=cuda")
        : new ChildJvm().options("--enable-native-access=ALL-UNNAMED",
            "-Dmhc.openblas.path=" + VendorLibrary.OPENBLAS.load().path()).classes(ChildJvm.testClasses());
    var result = child.options("-Dmhc.leak.detection=" + detection).runOnClassPath(Leaky.class.getName(),
        detection.equals("off") ? "0" : String.valueOf(OWNERS.size()));
    assertThat(result.exitCode()).as(result.output()).isZero();
    return result.output();
  }

  /** Leaves one of each owner unclosed, and others in ways that are right. */
  static final class Leaky {
    private Leaky() {}

    public static void main(String... arguments) throws InterruptedException {
      var reports = new Reports();
      leakDevice();
      closeDevice();
      try (Device device = open(); Communicator ranks = Communicator.initAll(List.of(device)).get(0)) {
        leak(device, ranks);
        new User(device, ranks).close();
        Tensor view = device.tensor(DType.FP32, 6).slice(0, 1, 2); // keeps what it is of
        int expected = Integer.parseInt(arguments[0]);
        for (int i = 0; i < 1000 && reports.count() < expected; i++) {
          collect();
        }
        for (int i = 0; i < 20; i++) { // for one too many
          collect();
        }
        view.fill(1);
      }
    }

    private static void collect() throws InterruptedException {
      System.gc();
      Thread.sleep(10);
    }

    private static Device open() { // without JUnit
      return TestDevice.isCuda() ? Device.cuda(0) : Device.cpu(CpuOptions.DEFAULT.withThreads(1));
    }

    private static void leakDevice() {
      open();
    }

    private static void closeDevice() {
      try (Device device = open()) {
        new User(device, Communicator.initAll(List.of(device)).get(0)); // all closed with it
      }
    }

    private static void leak(Device device, Communicator ranks) {
      device.tensor(DType.FP32, 2, 3);
      Tensor.wrap(device, DType.FP32, java.lang.foreign.Arena.ofAuto().allocate(32), 8); // has nothing to close
      new User(device, ranks);
    }
  }

  /** What has been reported: the thread that does it is not waited for when a JVM ends. */
  private static final class Reports {
    private final ByteArrayOutputStream written = new ByteArrayOutputStream();

    Reports() {
      PrintStream console = System.err;
      System.setErr(new PrintStream(new FilterOutputStream(console) {
        @Override
        public void write(int b) throws IOException {
          out.write(b);
          written.write(b);
        }
      }, true));
    }

    int count() {
      return written.toString().split("became garbage", -1).length - 1;
    }
  }

  /** Has one of each owner, which all may lead back to it. */
  private static final class User implements PipelineModel, AutoCloseable {
    private final Deque<AutoCloseable> owners = new ArrayDeque<>();

    User(Device device, Communicator ranks) {
      HyperConnectionConfig config = HyperConnectionConfig.Preset.PAPER.config(4).toBuilder()
          .mode(HyperConnectionConfig.Mode.RESIDUAL).build();
      HyperConnection layer = own(HyperConnection.create(device, config, Parameters.none()));
      own(Gemm.create(device, GemmConfig.of(DType.FP32, 2, 2, 2)));
      own(Fp8Gemm.create(device, Fp8GemmConfig.scaled(16, 16, 16, DType.FP32)));
      own(Muon.create(device, MuonConfig.Preset.KELLER_JORDAN.config(), 4, 4));
      own(Stream.create(device));
      own(Event.create(device));
      own(Graph.capture(device, () -> owners.forEach(Object::hashCode)));
      own(Communicator.initAll(List.of(device)).get(0));
      own(PipelineStage.create(ranks, PipelineSchedule.forwardOnly(1, 1),
          new PipelineOptions(1, 8, DType.FP32, PipelineOptions.Wire.EXACT),
          List.of(new PipelineStage.Part(List.of(layer), List.of(), this))));
    }

    private <T extends AutoCloseable> T own(T made) {
      owners.push(made);
      return made;
    }

    @Override
    public void begin(int microBatch, Tensor x) {
      x.fill(0);
    }

    @Override
    public void forward(int microBatch, int layer, Tensor h, Tensor f) {
      f.copyFrom(h);
    }

    @Override
    public void close() {
      for (AutoCloseable owner : owners) {
        try {
          owner.close();
        } catch (Exception e) {
          throw new AssertionError(e);
        }
      }
    }
  }
}
