// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.mhc.Fp8GemmConfig.Scaling;
import dev.mhc.bindings.VendorLibrary;
import dev.mhc.examples.MatrixProducts;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Products of FP8 matrices against double precision, which starts from the same FP8 numbers and scales. */
class Fp8GemmTest {
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

  static Stream<Fp8GemmConfig> products() {
    return Stream.of(Fp8GemmConfig.tiled(3, 5, 128, DType.BF16), Fp8GemmConfig.tiled(130, 129, 257, DType.FP32),
        Fp8GemmConfig.tiled(17, 300, 384, DType.FP16).withEpilogue(true, Activation.GELU),
        Fp8GemmConfig.tiled(4, 3, 1, DType.BF16), Fp8GemmConfig.tiled(0, 3, 5, DType.BF16),
        Fp8GemmConfig.tiled(3, 4, 0, DType.BF16).withEpilogue(true, Activation.NONE),
        new Fp8GemmConfig(65, 140, 200, Scaling.ROW_TILE, Scaling.ROW_TILE, DType.FP32, true, Activation.RELU),
        Fp8GemmConfig.scaled(33, 44, 155, DType.FP32), Fp8GemmConfig.scaled(33, 44, 155, DType.BF16),
        Fp8GemmConfig.scaled(33, 44, 155, DType.FP16).withEpilogue(true, Activation.RELU),
        Fp8GemmConfig.scaled(33, 48, 160, DType.BF16).withEpilogue(true, Activation.GELU), // the next as cuBLASLt takes them
        Fp8GemmConfig.tiled(130, 144, 384, DType.FP32), Fp8GemmConfig.tiled(17, 304, 256, DType.FP16).withEpilogue(true, Activation.RELU),
        Fp8GemmConfig.tiled(17, 304, 256, DType.FP32).withEpilogue(true, Activation.RELU));
  }

  @ParameterizedTest
  @MethodSource
  void products(Fp8GemmConfig config) {
    Tensor a = fp8(config.m(), config.k());
    Tensor aScale = scales(config.aScaling().scaleShape(config.m(), config.k()));
    Tensor b = fp8(config.n(), config.k());
    Tensor bScale = scales(config.bScaling().scaleShape(config.n(), config.k()));
    Tensor bias = config.bias() ? uniform(config.dType(), config.n()) : null;
    Tensor d = uniform(config.dType(), config.m(), config.n());
    try (Fp8Gemm product = Fp8Gemm.create(device, config)) {
      product.run(a, aScale, b, bScale, bias, d);
    }
    assertProduct(config, scaled(a, aScale, config.aScaling()), scaled(b, bScale, config.bScaling()).transposed(), bias, d);
  }

  private void assertProduct(Fp8GemmConfig config, Products.Matrix a, Products.Matrix b, Tensor bias, Tensor d) {
    int k = (int) config.k();
    Products.Matrix actual = Products.of(d);
    double[] shift = bias == null ? null : bias.toDoubles();
    for (int row = 0; row < config.m(); row++) {
      for (int column = 0; column < config.n(); column++) {
        double sum = Products.dot(a, b, row, column, k) + (shift == null ? 0 : shift[column]);
        double expected = switch (config.activation()) {
          case NONE -> sum;
          case RELU -> Math.max(sum, 0);
          case GELU -> Products.gelu(sum);
        };
        double off = 1.2 * (Products.bound(a, b, row, column, k, 6) + 0x1p-22 * Math.abs(sum));
        if (TestDevice.isGpu(device)) { // FP8 products are added up with fewer bits than float32 has
          off = 0x1p-12 * (Products.bound(a, b, row, column, 1, 0) * 0x1p24 + Math.abs(sum));
        }
        Products.assertClose(actual.at(row, column), expected,
            off + Products.rounding(config.dType()) * (Math.abs(expected) + off) + 0x1p-25,
            "seed " + seed + ", " + config + ", " + row + ", " + column);
      }
    }
  }

  private static Products.Matrix scaled(Tensor values, Tensor scales, Scaling scaling) {
    Products.Matrix matrix = Products.of(values);
    double[] scale = scales.toDoubles();
    int tiles = scaling == Scaling.TENSOR ? 1 : (int) scales.dim(1);
    return (row, column) -> matrix.at(row, column) * switch (scaling) {
      case TENSOR -> scale[0];
      case ROW_TILE -> scale[row * tiles + column / 128];
      case SQUARE_TILE -> scale[row / 128 * tiles + column / 128];
    };
  }

  /** What is quantised comes back as what it was, within FP8's precision. */
  @Test
  void example() {
    Tensor x = uniform(DType.BF16, 20, 256);
    int n = 130;
    Tensor weight = uniform(DType.BF16, n, 256);
    Tensor y = device.tensor(DType.BF16, 20, n);
    long live = device.liveBytes();
    MatrixProducts.fp8(device, x, weight, y);
    assertThat(device.liveBytes()).isEqualTo(live);
    Products.Matrix a = Products.of(x);
    Products.Matrix b = Products.of(weight).transposed();
    Products.Matrix actual = Products.of(y);
    for (int row = 0; row < 20; row++) {
      for (int column = 0; column < n; column++) {
        // an element is off by 1/16 of itself at most; errors of 256 products add up like noise
        Products.assertClose(actual.at(row, column), Products.dot(a, b, row, column, 256), 1.2, "seed " + seed);
      }
    }
  }

  /** What a GPU takes as it is, and what it dequantises first. */
  @ParameterizedTest
  @CsvSource({"144, 384", "140, 300"})
  void scalesWithAnyStrides(int n, int k) {
    Fp8GemmConfig config = Fp8GemmConfig.tiled(6, n, k, DType.FP32);
    Tensor a = fp8(6, config.k());
    Tensor b = fp8(config.n(), config.k());
    Tensor aScale = scales(6, 3);
    Tensor bScale = scales(2, 3);
    Tensor inPlaceA = Fp8.scales(device, Fp8.Tile.ROW, 6, config.k()).copyFrom(aScale);
    Tensor inPlaceB = Fp8.scales(device, Fp8.Tile.SQUARE, config.n(), config.k()).copyFrom(bScale);
    Tensor columns = device.tensor(DType.FP32, 3, 6);
    Tensor byColumn = Tensor.wrap(device, DType.FP32, columns.segment(), new long[] {6, 3}, new long[] {1, 6}).copyFrom(aScale);
    Tensor expected = device.tensor(DType.FP32, 6, config.n());
    Tensor actual = device.tensor(DType.FP32, 6, config.n());
    try (Fp8Gemm product = Fp8Gemm.create(device, config)) {
      product.run(a, aScale, b, bScale, expected);
      product.run(a, byColumn, b, bScale, actual);
      assertThat(actual.toFloats()).isEqualTo(expected.toFloats());
      product.run(a, inPlaceA, b, inPlaceB, actual.fill(0));
      assertThat(actual.toFloats()).isEqualTo(expected.toFloats());
      Tensor same = Tensor.wrap(device, DType.FP32, aScale.segment(), new long[] {6, 3}, new long[] {0, 0});
      Tensor copies = scales(6, 3).fill(aScale.get(0, 0));
      product.run(a, copies, b, bScale, expected);
      product.run(a, same, b, bScale, actual.fill(0));
    }
    assertThat(actual.toFloats()).isEqualTo(expected.toFloats());
  }

  /** Under the names of CUDA 12; before 12.9 without products of tiles, before 12.8 without a word for scales. */
  @ParameterizedTest
  @CsvSource({"120900, direct", "120804, dequantised", "120605, dequantised"})
  @EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  void librariesOfCuda12(int version, String tiled, @TempDir Path folder) throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU has its own libraries");
    Path standIns = Path.of(System.getProperty("mhc.nvidia.path"));
    for (String name : new String[] {"libcudart", "libcublasLt"}) {
      Files.copy(standIns.resolve(name + ".so.13"), folder.resolve(name + ".so.12"));
    }
    var result = TestDevice.standIns().options("-Dmhc.nvidia.path=" + folder)
        .environment("MHC_STAND_IN_CUBLASLT", String.valueOf(version)).runOnClassPath("dev.mhc.Fp8GemmTest$OtherGeneration");
    String old = version / 10000 + "." + version / 100 % 100 + "." + version % 100;
    assertThat(result.output()).contains("loaded " + folder.resolve("libcublasLt.so.12"), "SQUARE_TILE " + tiled + " 64.0",
        "TENSOR direct 64.0");
    assertThat(result.output().contains("cuBLASLt " + old + " has no products with 1 x 128 and 128 x 128 scales, which came with"
        + " 12.9")).isEqualTo(tiled.equals("dequantised"));
  }

  /** Rows that are apart by what cuBLASLt does not take. */
  @Test
  void stridesThatAreNotMultiplesOf16() {
    Fp8GemmConfig config = Fp8GemmConfig.tiled(5, 16, 128, DType.BF16).withEpilogue(true, Activation.NONE);
    Tensor a = fp8(5, 130).slice(1, 1, 129);
    Tensor b = fp8(16, 128);
    Tensor aScale = scales(5, 1);
    Tensor bScale = scales(1, 1);
    Tensor bias = uniform(DType.BF16, 16);
    Tensor whole = uniform(DType.BF16, 5, 19).fill(7);
    Tensor d = whole.slice(1, 2, 18);
    try (Fp8Gemm product = Fp8Gemm.create(device, config)) {
      product.run(a, aScale, b, bScale, bias, d);
    }
    assertProduct(config, scaled(a, aScale, Scaling.ROW_TILE), scaled(b, bScale, Scaling.SQUARE_TILE).transposed(), bias, d);
    assertThat(whole.slice(1, 0, 2).toDoubles()).containsOnly(7);
    assertThat(whole.slice(1, 18, 19).toDoubles()).containsOnly(7);
  }

  @Test
  void whatIsDirect() {
    int capability = device instanceof CudaDevice gpu ? gpu.computeCapability() : 0;
    assertThat(direct(Fp8GemmConfig.tiled(3, 16, 128, DType.FP32))).isEqualTo(capability == 90 && Cublas.version() >= 120900);
    assertThat(direct(Fp8GemmConfig.scaled(3, 16, 32, DType.BF16).withEpilogue(true, Activation.NONE))).isEqualTo(capability >= 89);
    assertThat(direct(Fp8GemmConfig.tiled(3, 5, 128, DType.FP32))).isFalse();
    assertThat(direct(Fp8GemmConfig.tiled(3, 16, 129, DType.FP32))).isFalse();
    assertThat(direct(Fp8GemmConfig.tiled(3, 16, 128, DType.FP32).withEpilogue(true, Activation.NONE))).isFalse();
  }

  private static boolean direct(Fp8GemmConfig config) {
    try (Fp8Gemm product = Fp8Gemm.create(device, config)) {
      return product.isDirect();
    }
  }

  /** In a JVM of its own, with a GPU of another generation. */
  static final class OtherGeneration {
    public static void main(String... arguments) {
      try (CudaDevice gpu = Device.cuda(0)) {
        System.out.println("loaded " + VendorLibrary.CUBLASLT.load().path());
        System.out.println("capability " + gpu.computeCapability());
        for (Fp8GemmConfig config : new Fp8GemmConfig[] {Fp8GemmConfig.tiled(2, 16, 128, DType.BF16),
            Fp8GemmConfig.scaled(2, 16, 128, DType.BF16)}) {
          Tensor d = gpu.tensor(DType.BF16, 2, 16);
          try (Fp8Gemm product = Fp8Gemm.create(gpu, config)) {
            product.run(gpu.tensor(DType.FP8_E4M3, 2, 128).fill(2), scale(gpu, config.aScaling(), 2),
                gpu.tensor(DType.FP8_E4M3, 16, 128).fill(1), scale(gpu, config.bScaling(), 16), d);
            System.out.println(config.bScaling() + (product.isDirect() ? " direct " : " dequantised ") + d.get(1, 15));
          }
        }
      }
    }

    private static Tensor scale(Device device, Scaling scaling, long rows) {
      return device.tensor(DType.FP32, scaling.scaleShape(rows, 128)).fill(0.5);
    }
  }

  @ParameterizedTest
  @CsvSource({"80, dequantised, dequantised", "89, dequantised, direct", "100, dequantised, direct"})
  @EnabledIfSystemProperty(named = "mhc.test.device", matches = "cuda")
  void gpusOfOtherGenerations(int capability, String tiled, String scaled) throws Exception {
    assumeFalse(TestDevice.isGpu(device), "a GPU is of its own generation");
    var result = TestDevice.standIns().environment("MHC_STAND_IN_CAPABILITY", String.valueOf(capability))
        .runOnClassPath("dev.mhc.Fp8GemmTest$OtherGeneration");
    assertThat(result.output()).contains("capability " + capability, "SQUARE_TILE " + tiled + " 64.0", "TENSOR " + scaled + " 64.0");
  }

  @Test
  void wrongArguments() {
    refused(() -> new Fp8GemmConfig(1, 1, 1, Scaling.SQUARE_TILE, Scaling.SQUARE_TILE, DType.BF16, false, Activation.NONE),
        "aScaling is SQUARE_TILE; expected TENSOR or ROW_TILE");
    refused(() -> new Fp8GemmConfig(1, 1, 1, Scaling.TENSOR, Scaling.ROW_TILE, DType.BF16, false, Activation.NONE),
        "bScaling is ROW_TILE; expected TENSOR");
    refused(() -> Fp8GemmConfig.tiled(1, 1, 1, DType.INT32), "dType is INT32");
    Tensor a = fp8(2, 256);
    Tensor b = fp8(16, 256);
    Tensor aScale = scales(2, 2);
    Tensor bScale = scales(1, 2);
    Tensor d = device.tensor(DType.BF16, 2, 16).fill(7);
    Fp8Gemm product = Fp8Gemm.create(device, Fp8GemmConfig.tiled(2, 16, 256, DType.BF16));
    refused(() -> product.run(b, aScale, b, bScale, d), "a is [16, 256] FP8_E4M3; expected shape [m, k] = [2, 256]");
    refused(() -> product.run(a, bScale, b, bScale, d),
        "aScale is [1, 2] FP32; expected shape [rows, ceil(k / 128)] = [2, 2]");
    refused(() -> product.run(a, aScale, b, aScale, d),
        "bScale is [2, 2] FP32; expected shape [ceil(rows / 128), ceil(k / 128)] = [1, 2]");
    refused(() -> product.run(a, aScale, uniform(DType.BF16, 16, 256), bScale, d), "b is [16, 256] BF16; expected FP8_E4M3");
    refused(() -> product.run(a, aScale, b, null, d), "bScale is null");
    refused(() -> product.run(a, aScale, b, bScale, uniform(DType.BF16, 16), d), "bias is [16] BF16; expected null");
    assertThat(d.toDoubles()).containsOnly(7);
    product.close();
    assertThatIllegalStateException().isThrownBy(() -> product.run(a, aScale, b, bScale, d))
        .withMessage("the Fp8Gemm is closed");
  }

  private Tensor fp8(long rows, long columns) {
    return device.tensor(DType.FP8_E4M3, rows, columns)
        .copyFrom(random.doubles(rows * columns).map(x -> 100 * (2 * x - 1)).toArray());
  }

  private Tensor scales(long... shape) {
    long count = java.util.Arrays.stream(shape).reduce(1, (x, y) -> x * y);
    return device.tensor(DType.FP32, shape).copyFrom(random.doubles(count).map(x -> 0.001 + x / 100).toArray());
  }

  private Tensor uniform(DType type, long... shape) {
    long count = java.util.Arrays.stream(shape).reduce(1, (x, y) -> x * y);
    return device.tensor(type, shape).copyFrom(random.doubles(count).map(x -> 2 * x - 1).toArray());
  }

  private static void refused(Runnable call, String message) {
    assertThatIllegalArgumentException().isThrownBy(call::run).withMessageContaining(message);
  }
}
