// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * Lists of products that a GPU computes in one call of cuBLAS: when it does, and what is kept from one call to the next. Sums
 * are exact in FP32, so that the bits are those of single products, whoever computes them.
 */
@EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
class CudaBatchTest {
  private static final GemmConfig FP32 = GemmConfig.of(DType.FP32, 5, 24, 16);
  private static final String ONE_CALL = "0 batch";

  private final Random random = new Random(11);
  private CudaDevice device;

  @BeforeEach
  void open() {
    device = TestDevice.cuda();
  }

  @AfterEach
  void close() {
    device.close();
  }

  /** Operands of so many products, and what they give one by one, whose results are theirs. */
  private final class Lists {
    final List<Tensor> a;
    final List<Tensor> b;
    final List<Tensor> d;
    private final List<double[]> before;
    private final List<double[]> expected;

    Lists(Gemm gemm, int products) {
      a = tensors(products, gemm.config().aType(), gemm.config().aShape());
      b = tensors(products, gemm.config().bType(), gemm.config().bShape());
      d = tensors(products, gemm.config().dType(), gemm.config().dShape());
      before = d.stream().map(Tensor::toDoubles).toList();
      for (int i = 0; i < products; i++) {
        gemm.run(a.get(i), b.get(i), d.get(i));
      }
      expected = d.stream().map(Tensor::toDoubles).toList();
      reset();
    }

    Lists reset() {
      for (int i = 0; i < d.size(); i++) {
        d.get(i).copyFrom(before.get(i));
      }
      return this;
    }

    void run(Gemm gemm) {
      gemm.run(a, b, null, d);
    }

    void check() {
      for (int i = 0; i < d.size(); i++) {
        assertThat(d.get(i).toDoubles()).as("product %d", i).isEqualTo(expected.get(i)).isNotEqualTo(before.get(i));
      }
    }

    /** In one call of cuBLAS, or one by one; where that can be seen. */
    void checkRun(Gemm gemm, boolean isOneCall) {
      if (TestDevice.isGpu(device)) {
        run(gemm);
        check();
        return;
      }
      device.synchronize();
      StandIn.trace(true);
      run(gemm);
      check();
      List<String> done = StandIn.traced();
      StandIn.trace(false);
      assertThat(done.stream().filter(ONE_CALL::equals).count()).isEqualTo(isOneCall ? 1 : 0);
      assertThat(done.contains("0 matmul")).isEqualTo(!isOneCall);
    }
  }

  private List<Tensor> tensors(int count, DType type, long[] shape) {
    return IntStream.range(0, count).mapToObj(_ -> tensor(type, shape)).toList();
  }

  private Tensor tensor(DType type, long... shape) {
    Tensor made = device.tensor(type, shape);
    return made.copyFrom(random.ints(made.elements(), -8, 9).mapToDouble(i -> i / 8.0).toArray());
  }

  @Test
  void everyTypeAndOrientation() {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16}) {
      for (DType result : type == DType.FP32 ? new DType[] {type} : new DType[] {type, DType.FP32}) {
        for (int form = 0; form < 4; form++) { // each has a workspace of its own, which takes the stand-in its time
          GemmConfig config = GemmConfig.of(type, 5, 24, 40).withResult(result).withTransposed((form & 1) != 0, (form & 2) != 0)
              .withPrecision(form < 2 ? GemmConfig.Precision.FP32 : GemmConfig.Precision.TF32)
              .withFactors(0.5f, (form & 1) != 0 ? -1.5f : 0);
          try (Gemm gemm = Gemm.create(device, config)) {
            new Lists(gemm, 3).checkRun(gemm, true);
          }
        }
      }
    }
  }

  @Test
  void batchesInLists() {
    try (Gemm gemm = Gemm.create(device, GemmConfig.of(DType.BF16, 4, 8, 16).withBatch(3))) {
      new Lists(gemm, 4).checkRun(gemm, true);
    }
  }

  /** What cuBLAS has no word for, or might misread, is computed one by one. */
  @Test
  void oneByOne() {
    try (Gemm plain = Gemm.create(device, FP32);
        Gemm relu = Gemm.create(device, FP32.withEpilogue(false, Activation.RELU))) {
      new Lists(plain, 1).checkRun(plain, false);
      new Lists(relu, 2).checkRun(relu, false);
      var lists = new Lists(plain, 2);
      Tensor apart = device.tensor(DType.FP32, 5, 40).slice(1, 8, 24).copyFrom(lists.a.get(1));
      checkInstead(plain, lists, List.of(lists.a.get(0), apart), false);
      checkInstead(plain, lists, List.of(apart, apart), true);
      Tensor odd = device.tensor(DType.FP32, 81).slice(0, 1, 81).reshape(5, 16).copyFrom(lists.a.get(1));
      checkInstead(plain, lists, List.of(lists.a.get(0), odd), false);
    }
  }

  /** Other A, of the same products as far as the second is checked. */
  private void checkInstead(Gemm gemm, Lists lists, List<Tensor> a, boolean isOneCall) {
    lists.reset();
    device.synchronize();
    boolean seen = !TestDevice.isGpu(device);
    if (seen) {
      StandIn.trace(true);
    }
    gemm.run(a, lists.b, null, lists.d);
    assertThat(lists.d.get(1).toDoubles()).isEqualTo(lists.expected.get(1));
    if (seen) {
      assertThat(StandIn.traced().contains(ONE_CALL)).isEqualTo(isOneCall);
      StandIn.trace(false);
    }
  }

  @Test
  void biasIsOfThePlan() {
    try (Gemm gemm = Gemm.create(device, FP32.withEpilogue(true, Activation.NONE)); Gemm plain = Gemm.create(device, FP32)) {
      var lists = new Lists(plain, 2);
      Tensor bias = device.tensor(DType.FP32, 24).fill(2);
      gemm.run(lists.a, lists.b, bias, lists.d);
      for (int i = 0; i < 2; i++) {
        assertThat(lists.d.get(i).toDoubles()).isEqualTo(Arrays.stream(lists.expected.get(i)).map(each -> each + 2).toArray());
      }
    }
  }

  /** Addresses are uploaded where they are others than the last time, behind what still reads those. */
  @Test
  void otherLists() {
    try (Gemm gemm = Gemm.create(device, FP32)) {
      var lists = List.of(new Lists(gemm, 3), new Lists(gemm, 3), new Lists(gemm, 7), new Lists(gemm, 2));
      for (int round = 0; round < 5; round++) {
        lists.forEach(each -> each.reset().run(gemm));
        lists.forEach(Lists::check);
      }
      gemm.run(List.of(), List.of(), null, List.of());
      lists.get(3).reset().run(gemm);
      lists.get(3).check();
    }
  }

  @Test
  void onlyOtherAddressesAreUploaded() {
    StandIn.require();
    try (Gemm gemm = Gemm.create(device, FP32)) {
      var lists = new Lists(gemm, 3);
      lists.run(gemm);
      assertThat(uploads(() -> lists.run(gemm))).isZero();
      var others = new Lists(gemm, 3);
      assertThat(uploads(() -> others.run(gemm))).isOne();
      assertThat(uploads(() -> lists.run(gemm))).isOne();
    }
  }

  private long uploads(Runnable run) {
    device.synchronize();
    StandIn.trace(true);
    run.run();
    device.synchronize();
    long copies = StandIn.traced().stream().filter("0 memcpy"::equals).count();
    StandIn.trace(false);
    return copies;
  }

  @Test
  void onTwoStreams() {
    try (Gemm gemm = Gemm.create(device, FP32); Stream other = Stream.create(device)) {
      var lists = List.of(new Lists(gemm, 3), new Lists(gemm, 4));
      for (int round = 0; round < 20; round++) {
        lists.forEach(Lists::reset);
        other.await(device.stream().record());
        lists.get(0).run(gemm);
        other.run(() -> lists.get(1).run(gemm));
        device.synchronize();
        lists.forEach(Lists::check);
      }
    }
  }

  /** A graph reads the addresses that it was captured with, whatever has been run since. */
  @Test
  void inAGraph() {
    Gemm gemm = Gemm.create(device, FP32);
    var lists = new Lists(gemm, 3);
    var others = new Lists(gemm, 3);
    lists.run(gemm);
    try (Graph graph = Graph.capture(device, () -> lists.run(gemm))) {
      assertThat(graph.size()).isOne();
      for (int round = 0; round < 3; round++) {
        lists.reset();
        graph.launch();
        lists.check();
        others.reset().run(gemm);
        others.check();
      }
      gemm.close();
      lists.reset();
      graph.launch();
      lists.check();
    }
  }

  @Test
  void otherListsAreNotCaptured() {
    try (Gemm gemm = Gemm.create(device, FP32)) {
      var lists = new Lists(gemm, 3);
      var others = new Lists(gemm, 3);
      String said = "the lists are not those of the last run, and a graph is captured; expected that they are run once before";
      assertThatIllegalStateException().isThrownBy(() -> Graph.capture(device, () -> lists.run(gemm))).withMessage(said);
      lists.run(gemm);
      assertThatIllegalStateException().isThrownBy(() -> Graph.capture(device, () -> others.run(gemm))).withMessage(said);
      lists.reset().run(gemm);
      lists.check();
    }
  }

  @Test
  void wrongListsChangeNothing() {
    try (Gemm gemm = Gemm.create(device, FP32)) {
      var lists = new Lists(gemm, 2);
      List<Tensor> wrong = List.of(lists.b.get(0), lists.a.get(0));
      assertThatIllegalArgumentException().isThrownBy(() -> gemm.run(lists.a, wrong, null, lists.d))
          .withMessageContaining("b[1] is [5, 16] FP32; expected shape [k, n] = [16, 24]");
      for (int i = 0; i < 2; i++) {
        assertThat(lists.d.get(i).toDoubles()).isEqualTo(lists.before.get(i));
      }
    }
  }

  @Test
  void closingFreesAll() {
    try (Gemm first = Gemm.create(device, FP32)) {
      var lists = new Lists(first, 3);
      long without = device.liveBytes();
      Gemm gemm = Gemm.create(device, FP32);
      lists.run(gemm);
      lists.check();
      assertThat(device.liveBytes()).isGreaterThan(without + (4 << 20));
      gemm.close();
      assertThat(device.liveBytes()).isEqualTo(without);
    }
    device.synchronize();
    device.trim();
  }

  @Test
  void oneHandleForADevice() {
    StandIn.require();
    int before = StandIn.cublasHandles();
    CudaDevice own = TestDevice.cuda();
    Tensor x = own.tensor(DType.FP32, 4, 4);
    Tensor y = own.tensor(DType.FP32, 4, 4);
    Tensor z = own.tensor(DType.FP32, 4, 4);
    assertThat(StandIn.cublasHandles()).isEqualTo(before);
    for (int i = 0; i < 3; i++) {
      Blas.gemm(List.of(x, x), List.of(x, x), List.of(y, z));
      assertThat(StandIn.cublasHandles()).isEqualTo(before + 1);
    }
    own.close();
    assertThat(StandIn.cublasHandles()).isEqualTo(before);
  }

  /** In a JVM of its own: two products, and how they come out. */
  static final class TwoProducts {
    public static void main(String... arguments) {
      try (Device gpu = Device.cuda(0)) {
        Tensor two = gpu.tensor(DType.FP32, 4, 4).fill(2);
        List<Tensor> twice = List.of(two, two);
        List<Tensor> d = List.of(gpu.tensor(DType.FP32, 4, 4), gpu.tensor(DType.FP32, 4, 4));
        for (int i = 0; i < 2; i++) {
          try {
            Blas.gemm(twice, twice, d);
            System.out.println("gives " + d.get(0).get(0, 0) + " and " + d.get(1).get(3, 3));
          } catch (CublasException e) {
            System.out.println(e.status() + " of " + e.function() + " on " + e.device());
          }
        }
      }
    }
  }

  @Test
  void withoutCublas(@TempDir Path folder) throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU has its own libraries");
    for (String name : new String[] {"libcudart.so.13", "libcublasLt.so.13"}) {
      Files.copy(Path.of(System.getProperty("mhc.nvidia.path")).resolve(name), folder.resolve(name));
    }
    var result = TestDevice.standIns().options("-Dmhc.nvidia.path=" + folder).runOnClassPath("dev.mhc.CudaBatchTest$TwoProducts");
    assertThat(result.output()).contains("products of lists are computed one by one: the native library cuBLAS could not be",
        "gives 16.0 and 16.0");
  }

  @Test
  void failures() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU does not fail when asked to");
    for (String[] each : new String[][] {{"cublasCreate", "CUBLAS_STATUS_NOT_INITIALIZED"},
        {"cublasGemmBatchedEx", "CUBLAS_STATUS_EXECUTION_FAILED"}}) {
      var result = TestDevice.standIns().environment("MHC_STAND_IN_FAIL", each[0] + ":1:1")
          .runOnClassPath("dev.mhc.CudaBatchTest$TwoProducts");
      assertThat(result.output()).contains(each[1] + " of " + each[0] + " on ", "gives 16.0 and 16.0");
    }
  }
}
