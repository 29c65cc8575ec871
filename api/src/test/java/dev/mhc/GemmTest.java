// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.mhc.examples.MatrixProducts;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Products of matrices against double precision. */
class GemmTest {
  private static Device device;
  private final long seed = new Random().nextLong();
  private final Random random = new Random(seed);

  @BeforeAll
  static void open() {
    device = TestDevice.open();
  }

  @AfterAll
  static void close() {
    if (device != null) { // else there is nothing to run on
      device.close();
    }
  }

  static Stream<int[]> shapes() {
    return Stream.of(new int[] {1, 1, 1}, new int[] {7, 5, 3}, new int[] {64, 64, 64}, new int[] {33, 129, 65},
        new int[] {1, 200, 137}, new int[] {137, 1, 200}, new int[] {5, 6, 0}, new int[] {0, 6, 5}, new int[] {6, 0, 5});
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void everyTypeAndOrientation(int[] shape) {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16}) {
      for (DType result : type == DType.FP32 ? new DType[] {type} : new DType[] {type, DType.FP32}) {
        for (int orientation = 0; orientation < 4; orientation++) {
          check(GemmConfig.of(type, shape[0], shape[1], shape[2]).withResult(result)
              .withTransposed((orientation & 1) != 0, (orientation & 2) != 0));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Activation.class)
  void epilogues(Activation activation) {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16}) {
      for (boolean bias : new boolean[] {false, true}) {
        check(GemmConfig.of(type, 21, 34, 55).withEpilogue(bias, activation).withFactors(0.5f, bias ? -1.5f : 0));
      }
    }
  }

  @Test
  void batches() {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16}) {
      check(GemmConfig.of(type, 9, 10, 11).withBatch(5).withTransposed(true, false).withEpilogue(true, Activation.RELU));
      check(GemmConfig.of(type, 9, 10, 11).withBatch(1));
    }
  }

  @Test
  void halfOperandsWithAFloatResultAndBias() {
    for (DType type : new DType[] {DType.BF16, DType.FP16}) {
      for (Activation activation : Activation.values()) {
        check(GemmConfig.of(type, 21, 34, 55).withResult(DType.FP32).withEpilogue(true, activation));
      }
      check(GemmConfig.of(type, 9, 10, 11).withResult(DType.FP32).withBatch(3).withEpilogue(true, Activation.NONE).withFactors(2, -1));
    }
  }

  /** Operands that TF32 holds, of 11 bits, are multiplied exactly; others come out within what rounding them may do. */
  @Test
  void tf32() {
    GemmConfig config = GemmConfig.of(DType.FP32, 21, 34, 55).withPrecision(GemmConfig.Precision.TF32);
    Tensor a = random(DType.FP32, 21, 55);
    Tensor b = random(DType.FP32, 55, 34);
    Tensor d = device.tensor(DType.FP32, 21, 34);
    Tensor roundedA = device.tensor(DType.FP32, 21, 55).copyFrom(device.tensor(DType.BF16, 21, 55).copyFrom(a));
    Tensor roundedB = device.tensor(DType.FP32, 55, 34).copyFrom(device.tensor(DType.BF16, 55, 34).copyFrom(b));
    try (Gemm gemm = Gemm.create(device, config)) {
      assertThat(gemm.config().precision()).isEqualTo(GemmConfig.Precision.TF32);
      gemm.run(roundedA, roundedB, d);
      assertProduct(config, Products.of(roundedA), Products.of(roundedB), null, null, Products.of(d));
      gemm.run(a, b, d);
    }
    Products.Matrix left = Products.of(a);
    Products.Matrix right = Products.of(b);
    Products.Matrix actual = Products.of(d);
    double off = 0;
    for (int row = 0; row < 21; row++) {
      for (int column = 0; column < 34; column++) {
        double most = Products.bound(left, right, row, column, 1, 0) * 0x1p24; // of the first product alone
        for (int i = 0; i < 55; i++) {
          most = Math.max(most, Math.abs(left.at(row, i) * right.at(i, column)));
        }
        double error = Math.abs(actual.at(row, column) - Products.dot(left, right, row, column, 55));
        assertThat(error).as("seed %s", seed).isLessThanOrEqualTo(55 * most * 0x1p-9);
        off = Math.max(off, error);
      }
    }
    if (TestDevice.isGpu(device)) {
      assertThat(off).as("TF32 was asked for, and rounds").isGreaterThan(1e-5);
    }
  }

  /** In a JVM of its own: a number that TF32 rounds to 1, times 1, in both precisions. */
  static final class Precisions {
    public static void main(String... arguments) {
      try (Device gpu = Device.cuda(0)) {
        Tensor x = gpu.tensor(DType.FP32, 1, 1).fill(1 + 0x1p-12);
        Tensor one = gpu.tensor(DType.FP32, 1, 1).fill(1);
        Tensor d = gpu.tensor(DType.FP32, 1, 1);
        for (GemmConfig.Precision precision : GemmConfig.Precision.values()) {
          try (Gemm gemm = Gemm.create(gpu, GemmConfig.of(DType.FP32, 1, 1, 1).withPrecision(precision))) {
            gemm.run(x, one, d);
            System.out.println(precision + " gives " + d.get(0, 0));
          }
        }
      }
    }
  }

  @EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  @Test
  void tf32IsAskedFor() throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU rounds in the test before");
    var result = TestDevice.standIns().environment("MHC_STAND_IN_TF32", "1").runOnClassPath("dev.mhc.GemmTest$Precisions");
    assertThat(result.output()).contains("FP32 gives " + (1 + 0x1p-12), "TF32 gives 1.0");
  }

  /** Rows apart, a matrix that all of a batch share, and a result whose rows are apart: what lies between is left alone. */
  @Test
  void strides() {
    Tensor a = random(DType.FP32, 4, 8, 20).slice(2, 3, 15);
    Tensor b = Tensor.wrap(device, DType.FP32, random(DType.FP32, 12, 6).segment(), new long[] {4, 12, 6}, new long[] {0, 6, 1});
    Tensor whole = device.tensor(DType.FP32, 4, 8, 10).fill(7);
    Tensor d = whole.slice(2, 2, 8);
    Blas.gemm(a, b, d);
    for (int i = 0; i < 4; i++) {
      assertProduct(GemmConfig.of(DType.FP32, 8, 6, 12), Products.of(a, i), Products.of(b, i), null, null, Products.of(d, i));
    }
    assertThat(whole.slice(2, 0, 2).toDoubles()).containsOnly(7);
    assertThat(whole.slice(2, 8, 10).toDoubles()).containsOnly(7);
  }

  @Test
  void whatTheResultWasIsNotRead() {
    for (DType type : new DType[] {DType.FP32, DType.BF16}) {
      Tensor d = device.tensor(type, 3, 4).fill(Double.NaN);
      Blas.gemm(random(type, 3, 5), random(type, 5, 4), d);
      assertThat(d.toDoubles()).doesNotContain(Double.NaN);
    }
  }

  @Test
  void aPlanRunsOftenAndGivesTheSameBits() {
    Tensor a = random(DType.BF16, 65, 129);
    Tensor b = random(DType.BF16, 129, 33);
    Tensor first = device.tensor(DType.FP32, 65, 33);
    Tensor again = device.tensor(DType.FP32, 65, 33);
    try (Gemm gemm = Gemm.create(device, GemmConfig.of(DType.BF16, 65, 33, 129).withResult(DType.FP32))) {
      gemm.run(a, b, first);
      for (int i = 0; i < 30; i++) {
        gemm.run(a, b, again.fill(0));
        assertThat(again.toFloats()).isEqualTo(first.toFloats());
      }
    }
  }

  /** Devices with different numbers of threads share OpenBLAS, whose number of threads is one for the process. */
  @DisabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  @Test
  void devicesSideBySide() throws Exception {
    Tensor left = random(DType.FP32, 60, 70);
    Tensor right = random(DType.FP32, 70, 80);
    try (var pool = Executors.newFixedThreadPool(4)) {
      var results = pool.invokeAll(IntStream.range(0, 4).<Callable<double[]>>mapToObj(i -> () -> {
        try (Device own = Device.cpu(CpuOptions.DEFAULT.withThreads(1 + i % 2))) {
          Tensor a = own.tensor(DType.FP32, 60, 70).copyFrom(left);
          Tensor b = own.tensor(DType.FP32, 70, 80).copyFrom(right);
          Tensor d = own.tensor(DType.FP32, 60, 80);
          for (int run = 0; run < 50; run++) {
            Blas.gemm(a, b, d);
          }
          return d.toDoubles();
        }
      }).toList());
      Products.Matrix a = Products.of(left);
      Products.Matrix b = Products.of(right);
      for (var result : results) {
        double[] d = result.get();
        assertProduct(GemmConfig.of(DType.FP32, 60, 80, 70), a, b, null, null, (r, c) -> d[r * 80 + c]);
      }
    }
  }

  @Test
  void wrongConfigs() {
    GemmConfig good = GemmConfig.of(DType.BF16, 2, 3, 4);
    refused(() -> GemmConfig.of(DType.FP8_E4M3, 2, 3, 4), "aType is FP8_E4M3; expected BF16 or FP16 or FP32");
    refused(() -> GemmConfig.of(DType.BF16, -1, 3, 4), "m is -1; expected 0 to 2147483647");
    refused(() -> GemmConfig.of(DType.BF16, 1, 1L << 31, 4), "n is 2147483648");
    refused(() -> good.withBatch(-1), "batch is -1");
    refused(() -> good.withResult(DType.FP16), "dType is FP16; expected that of A, BF16, or FP32");
    refused(() -> good.withFactors(Float.NaN, 0), "alpha is NaN; expected a finite number");
    refused(() -> good.withFactors(1, Float.POSITIVE_INFINITY), "beta is Infinity");
    refused(() -> Gemm.create(device, null), "config is null");
    refused(() -> Gemm.create(null, good), "device is null");
  }

  @Test
  void wrongOperands() {
    Tensor a = random(DType.FP32, 2, 4);
    Tensor b = random(DType.FP32, 4, 3);
    Tensor d = device.tensor(DType.FP32, 2, 3).fill(7);
    Tensor bias = device.tensor(DType.FP32, 3);
    try (Device other = Device.cpu();
        Gemm plain = Gemm.create(device, GemmConfig.of(DType.FP32, 2, 3, 4));
        Gemm biased = Gemm.create(device, GemmConfig.of(DType.FP32, 2, 3, 4).withEpilogue(true, Activation.NONE))) {
      refused(() -> plain.run(null, b, d), "a is null; expected a tensor [m, k]");
      refused(() -> plain.run(b, b, d), "a is [4, 3] FP32; expected shape [m, k] = [2, 4]");
      refused(() -> plain.run(a, a, d), "b is [2, 4] FP32; expected shape [k, n] = [4, 3]");
      refused(() -> plain.run(a, random(DType.BF16, 4, 3), d), "b is [4, 3] BF16; expected FP32 elements");
      refused(() -> plain.run(a, b, a), "d is [2, 4] FP32; expected shape [m, n] = [2, 3]");
      refused(() -> plain.run(a, b, bias, d), "bias is [3] FP32; expected null");
      refused(() -> biased.run(a, b, d), "bias is null; expected a tensor [n]");
      refused(() -> biased.run(a, b, a.slice(1, 0, 3), d), "bias is [2, 3]");
      refused(() -> plain.run(other.tensor(DType.FP32, 2, 4), b, d), "a belongs to another device");
      refused(() -> plain.run(a, b, a.reshape(8).slice(0, 0, 6).reshape(2, 3)), "d is [2, 3] FP32, in memory that a");
      Tensor transposed = Tensor.wrap(device, DType.FP32, a.segment(), new long[] {2, 4}, new long[] {1, 2});
      refused(() -> plain.run(transposed, b, d), "expected a last dimension with stride 1");
      refused(() -> Blas.gemm(a, bias, d), "b is [3] FP32; expected as many dimensions as a has, 2");
      refused(() -> Blas.gemm(bias, bias, d), "a is [3] FP32; expected shape [m, k] or [batch, m, k]");
      assertThat(d.toDoubles()).containsOnly(7);
    }
  }

  /** Matrices of a list lie anywhere, each in its own way; the bits are those of single products. */
  @Test
  void lists() {
    for (DType type : new DType[] {DType.FP32, DType.BF16, DType.FP16}) {
      List<Tensor> a = List.of(random(type, 5, 12), random(type, 9, 20).slice(0, 2, 7).slice(1, 3, 15), random(type, 5, 12));
      Tensor b = random(type, 12, 6);
      Tensor whole = device.tensor(type, 5, 9).fill(7);
      Tensor bias = random(type, 6);
      List<Tensor> d = List.of(random(type, 5, 6), whole.slice(1, 2, 8), random(type, 5, 6));
      GemmConfig config = GemmConfig.of(type, 5, 6, 12).withEpilogue(true, Activation.RELU);
      Tensor alone = device.tensor(type, 5, 6);
      try (Gemm gemm = Gemm.create(device, config)) {
        gemm.run(a, List.of(b, b, b), bias, d);
        for (int i = 0; i < 3; i++) {
          assertProduct(config, Products.of(a.get(i)), Products.of(b), bias, null, Products.of(d.get(i)));
          gemm.run(a.get(i), b, bias, alone);
          if (i != 1 || !TestDevice.isGpu(device)) { // a GPU may have another algorithm for rows that are apart
            assertThat(d.get(i).toDoubles()).isEqualTo(alone.toDoubles());
          }
        }
      }
      assertThat(whole.slice(1, 0, 2).toDoubles()).containsOnly(7);
      Blas.gemm(a, List.of(b, b, b), d);
      assertProduct(GemmConfig.of(type, 5, 6, 12), Products.of(a.get(2)), Products.of(b), null, null, Products.of(d.get(2)));
      Blas.gemm(List.of(), List.of(), List.of());
    }
  }

  @Test
  void wrongLists() {
    Tensor a = random(DType.FP32, 2, 4);
    Tensor b = random(DType.FP32, 4, 3);
    Tensor d = device.tensor(DType.FP32, 2, 3).fill(7);
    Tensor e = device.tensor(DType.FP32, 2, 3).fill(7);
    Tensor pool = device.tensor(DType.FP32, 20);
    Tensor bias = device.tensor(DType.FP32, 3);
    try (Gemm gemm = Gemm.create(device, GemmConfig.of(DType.FP32, 2, 3, 4))) {
      refused(() -> gemm.run(null, List.of(b), null, List.of(d)), "a is null; expected a list of tensors");
      refused(() -> gemm.run(List.of(a), null, null, List.of(d)), "b is null; expected a list of tensors");
      refused(() -> gemm.run(List.of(a), List.of(b), null, null), "d is null; expected a list of tensors");
      refused(() -> gemm.run(List.of(a, a), List.of(b), null, List.of(d, e)), "b has 1 tensors; expected as many as a has, 2");
      refused(() -> gemm.run(List.of(a), List.of(b), null, List.of(d, e)), "d has 2 tensors; expected as many as a has, 1");
      refused(() -> gemm.run(List.of(a, b), List.of(b, b), null, List.of(d, e)),
          "a[1] is [4, 3] FP32; expected shape [m, k] = [2, 4]");
      refused(() -> gemm.run(List.of(a, a), Arrays.asList(b, null), null, List.of(d, e)),
          "b[1] is null; expected a tensor [k, n]");
      refused(() -> gemm.run(List.of(a, a), List.of(b, b), null, List.of(d, a)), "d[1] is [2, 4] FP32");
      refused(() -> gemm.run(List.of(a), List.of(b), bias, List.of(d)), "bias is [3] FP32; expected null");
      refused(() -> gemm.run(List.of(a, a), List.of(b, b), null, List.of(d, d)), "d[1] is [2, 3] FP32, in memory that d[0]");
      Tensor inside = pool.slice(0, 4, 10).reshape(2, 3);
      refused(() -> gemm.run(List.of(pool.slice(0, 8, 16).reshape(2, 4), a), List.of(b, b), null, List.of(d, inside)),
          "d[1] is [2, 3] FP32, in memory that a[0]");
      refused(() -> gemm.run(List.of(a, a), List.of(b, pool.slice(0, 0, 12).reshape(4, 3)), null, List.of(inside, e)),
          "d[0] is [2, 3] FP32, in memory that b[1]");
      refused(() -> Blas.gemm(List.of(a), List.of(), List.of(d)), "b has 0 tensors; expected as many as a has, 1");
      refused(() -> Blas.gemm(List.of(bias), List.of(b), List.of(d)), "a[0] is [3] FP32; expected a matrix");
      refused(() -> Blas.gemm(List.of(a), List.of(bias), List.of(d)), "b[0] is [3] FP32; expected a matrix");
      refused(() -> Blas.gemm(List.of(a), List.of(b), Arrays.asList((Tensor) null)), "d[0] is null; expected a tensor");
      a.close();
      assertThatIllegalStateException().isThrownBy(() -> gemm.run(List.of(a), List.of(b), null, List.of(d)))
          .withMessageContaining("a[0] is closed");
    }
    assertThat(d.toDoubles()).containsOnly(7);
    assertThat(e.toDoubles()).containsOnly(7);
  }

  /** No product to compute is no reason to overlook what is wrong. */
  @Test
  void anEmptyBatch() {
    Tensor a = device.tensor(DType.FP32, 0, 2, 4);
    Tensor b = device.tensor(DType.FP32, 0, 4, 3);
    Tensor d = device.tensor(DType.FP32, 0, 2, 3);
    Blas.gemm(a, b, d);
    Blas.gemm(device.tensor(DType.BF16, 0, 2, 4), device.tensor(DType.BF16, 0, 4, 3), d);
    refused(() -> Blas.gemm(a, a, d), "b is [0, 2, 4] FP32; expected shape [batch, k, n] = [0, 4, 4]");
    refused(() -> Blas.gemm(a, device.tensor(DType.FP32, 1, 4, 3), d),
        "b is [1, 4, 3] FP32; expected shape [batch, k, n] = [0, 4, 3]");
    refused(() -> Blas.gemm(a, b, b), "d is [0, 4, 3] FP32; expected shape [batch, m, n] = [0, 2, 3]");
    refused(() -> Blas.gemm(a, b, device.tensor(DType.FP32, 2, 3)),
        "d is [2, 3] FP32; expected shape [batch, m, n] = [0, 2, 3]");
    refused(() -> Blas.gemm(a, device.tensor(DType.BF16, 0, 4, 3), d), "b is [0, 4, 3] BF16; expected FP32 elements");
    refused(() -> Blas.gemm(a, b, device.tensor(DType.FP16, 0, 2, 3)), "dType is FP16; expected that of A, FP32, or FP32");
    refused(() -> Blas.gemm(device.tensor(DType.INT32, 0, 2, 4), b, d), "aType is INT32");
    refused(() -> Blas.gemm(a, null, d), "b is null; expected a tensor");
    try (Device other = Device.cpu()) {
      refused(() -> Blas.gemm(a, other.tensor(DType.FP32, 0, 4, 3), d), "b belongs to another device");
    }
    b.close();
    assertThatIllegalStateException().isThrownBy(() -> Blas.gemm(a, b, d)).withMessageContaining("closed");
  }

  @Test
  void lifetimes() {
    Device own = TestDevice.open();
    Gemm gemm = Gemm.create(own, GemmConfig.of(DType.BF16, 2, 2, 2));
    Gemm closed = Gemm.create(own, GemmConfig.of(DType.BF16, 2, 2, 2));
    Tensor x = own.tensor(DType.BF16, 2, 2);
    Tensor y = own.tensor(DType.BF16, 2, 2);
    long before = own.liveBytes();
    closed.close();
    closed.close();
    assertThat(own.liveBytes()).isLessThan(before);
    assertThat(closed.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(() -> closed.run(x, x, y)).withMessage("the Gemm is closed");
    gemm.run(x, x, y);
    own.close();
    assertThat(gemm.isClosed()).isTrue();
    assertThatIllegalStateException().isThrownBy(() -> gemm.run(x, x, y)).withMessageContaining("closed");
  }

  @Test
  void example() {
    Tensor x = random(DType.BF16, 5, 16);
    Tensor weight = random(DType.BF16, 8, 16);
    Tensor bias = random(DType.BF16, 8);
    Tensor y = device.tensor(DType.BF16, 5, 8);
    MatrixProducts.gemm(device, x, weight, bias, y);
    assertProduct(GemmConfig.of(DType.BF16, 5, 8, 16).withEpilogue(true, Activation.GELU), Products.of(x),
        Products.of(weight).transposed(), bias, null, Products.of(y));
  }

  @DisabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  @Test
  void withoutOpenBlas() throws Exception {
    var result = new ChildJvm().options("--enable-native-access=ALL-UNNAMED", "-Dmhc.openblas.path=/nowhere")
        .classes(ChildJvm.testClasses()).runOnClassPath("dev.mhc.GemmTest$OneProduct");
    assertThat(result.output()).contains("NativeLibraryException: the native library OpenBLAS could not be loaded. Tried:",
        "system property mhc.openblas.path: /nowhere: no such file",
        "Hint: correct system property mhc.openblas.path, or unset it", "a tensor works");
  }

  /** In a JVM of its own. */
  static final class OneProduct {
    public static void main(String... arguments) {
      try (Device device = Device.cpu()) {
        Tensor x = device.tensor(DType.FP32, 2, 2);
        try {
          Blas.gemm(x, x, device.tensor(DType.FP32, 2, 2));
        } catch (NativeLibraryException e) {
          System.out.println(e);
        }
        System.out.println("a tensor works: " + x.fill(1).get(0, 0));
      }
    }
  }

  private void check(GemmConfig config) {
    Tensor a = random(config.aType(), config.aShape());
    Tensor b = random(config.bType(), config.bShape());
    Tensor d = random(config.dType(), config.dShape());
    Tensor bias = config.bias() ? random(config.dType(), config.n()) : null;
    Tensor before = device.tensor(config.dType(), config.dShape()).copyFrom(d);
    try (Gemm gemm = Gemm.create(device, config)) {
      gemm.run(a, b, bias, d);
    }
    for (int i = 0; i < Math.max(1, config.batch()); i++) {
      int[] at = config.batch() == 0 ? new int[0] : new int[] {i};
      Products.Matrix left = Products.of(a, at);
      Products.Matrix right = Products.of(b, at);
      assertProduct(config, config.transposeA() ? left.transposed() : left, config.transposeB() ? right.transposed() : right,
          bias, Products.of(before, at), Products.of(d, at));
    }
  }

  private void assertProduct(GemmConfig config, Products.Matrix a, Products.Matrix b, Tensor bias, Products.Matrix before,
      Products.Matrix actual) {
    int k = (int) config.k();
    double[] shift = bias == null ? null : bias.toDoubles();
    for (int row = 0; row < config.m(); row++) {
      for (int column = 0; column < config.n(); column++) {
        double old = before == null || config.beta() == 0 ? 0 : config.beta() * before.at(row, column);
        double sum = config.alpha() * Products.dot(a, b, row, column, k) + old + (shift == null ? 0 : shift[column]);
        double expected = switch (config.activation()) {
          case NONE -> sum;
          case RELU -> Math.max(sum, 0);
          case GELU -> Products.gelu(sum);
        };
        double off = 1.2 * (Math.abs(config.alpha()) * Products.bound(a, b, row, column, k, 4)
            + 0x1p-22 * (Math.abs(old) + Math.abs(sum))); // 1.13 is GELU's largest slope
        if (config.activation() == Activation.GELU && TestDevice.isGpu(device)) {
          off += 0x1p-10 * Math.abs(sum); // its tanh is an approximation
        }
        double rounding = Products.rounding(config.dType()) * (Math.abs(expected) + off) + 0x1p-25;
        Products.assertClose(actual.at(row, column), expected, off + rounding,
            "seed " + seed + ", " + config + ", " + row + ", " + column);
      }
    }
  }

  private Tensor random(DType type, long... shape) {
    return device.tensor(type, shape).copyFrom(
        random.doubles(Arrays.stream(shape).reduce(1, (x, y) -> x * y)).map(x -> 2 * x - 1).toArray());
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
