// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/**
 * A prepared product of FP8 matrices. Belongs to a device, and ends with it. Sums are of float32 and rounded once, to the
 * type of D. A CPU multiplies each element by its scale, rounding to float32, and then the matrices with OpenBLAS. A GPU
 * takes them as they are where cuBLASLt has such a product: n and k are multiples of 16, operands aligned to 16 bytes, a bias
 * goes with a D of BF16 or FP16, and with 1 x 128 and 128 x 128 scales its compute capability is 9.0. It reads scales in place
 * where they lie as {@link Fp8#scales} makes them, and copies others. Any other product a GPU computes as a CPU does, slower
 * and with {@code 4 (mk + nk + mn)} bytes of workspace: {@link #isDirect} tells.
 *
 * <p>Thread-safe: calls of one device wait for each other.
 *
 * {@snippet file="dev/mhc/examples/MatrixProducts.java" region="fp8"}
 */
public abstract sealed class Fp8Gemm extends Prepared permits CpuFp8Gemm, CudaFp8Gemm {
  final Fp8GemmConfig config;
  private final Operand.Shape aShape;
  private final Operand.Shape aScaleShape;
  private final Operand.Shape bShape;
  private final Operand.Shape bScaleShape;
  private final Operand.Shape dShape;
  private final Operand.Shape biasShape;

  Fp8Gemm(Device device, Fp8GemmConfig config) {
    super(device);
    this.config = config;
    aShape = new Operand.Shape("[m, k]", config.m(), config.k());
    aScaleShape = scaleShape(config.aScaling(), config.m(), config.k());
    bShape = new Operand.Shape("[n, k]", config.n(), config.k());
    bScaleShape = scaleShape(config.bScaling(), config.n(), config.k());
    dShape = new Operand.Shape("[m, n]", config.m(), config.n());
    biasShape = new Operand.Shape("[n]", config.n());
  }

  private static Operand.Shape scaleShape(Fp8GemmConfig.Scaling scaling, long rows, long columns) {
    String words = switch (scaling) {
      case TENSOR -> "[1]";
      case ROW_TILE -> "[rows, ceil(k / 128)]";
      case SQUARE_TILE -> "[ceil(rows / 128), ceil(k / 128)]";
    };
    return new Operand.Shape(words, scaling.scaleShape(rows, columns));
  }

  /**
   * Prepares a product.
   *
   * @param device where it runs
   * @param config which it is
   * @throws NativeLibraryException if the library that computes it cannot be loaded
   */
  public static Fp8Gemm create(Device device, Fp8GemmConfig config) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "an Fp8GemmConfig");
    return watched("Fp8Gemm of " + config.m() + " x " + config.n() + " x " + config.k(), () -> switch (device) {
      case CpuDevice cpu -> new CpuFp8Gemm(cpu, config);
      case CudaDevice cuda -> new CudaFp8Gemm(cuda, config);
    });
  }

  /** The product that was prepared. */
  public Fp8GemmConfig config() {
    return config;
  }

  /** Whether FP8 matrices without gaps are multiplied as they are; else they are dequantised first, as on a CPU. */
  public abstract boolean isDirect();

  /**
   * Computes a product without bias.
   *
   * @param a {@code [m, k]} {@link DType#FP8_E4M3}
   * @param aScale of A's {@link Fp8GemmConfig.Scaling#scaleShape}, {@link DType#FP32}, with any strides
   * @param b {@code [n, k]} {@link DType#FP8_E4M3}
   * @param bScale of B's scaleShape, FP32, with any strides
   * @param d {@code [m, n]}, written; in memory of its own
   */
  public void run(Tensor a, Tensor aScale, Tensor b, Tensor bScale, Tensor d) {
    run(a, aScale, b, bScale, null, d);
  }

  /**
   * Computes the product.
   *
   * @param a {@code [m, k]} {@link DType#FP8_E4M3}
   * @param aScale of A's {@link Fp8GemmConfig.Scaling#scaleShape}, {@link DType#FP32}, with any strides
   * @param b {@code [n, k]} {@link DType#FP8_E4M3}
   * @param bScale of B's scaleShape, FP32, with any strides
   * @param bias {@code [n]}, of the type of d; null if the product has none
   * @param d {@code [m, n]}, written; in memory of its own
   * @throws IllegalStateException if this or a tensor is closed
   */
  public void run(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    try (var _ = device.held()) {
      device.handle();
      if (isClosed()) {
        throw new IllegalStateException("the Fp8Gemm is closed");
      }
      check(a, aScale, b, bScale, bias, d);
      OperationEvent event = OperationEvent.start();
      compute(a, aScale, b, bScale, bias, d);
      OperationEvent.finish(event, "fp8_gemm", device, config.m());
    }
  }

  private void check(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    int result = Types.of(config.dType());
    Operand.accept("a", a, device, Types.FP8_E4M3, aShape);
    Operand.accept("aScale", aScale, device, Types.FP32 | Types.ANY_STRIDES, aScaleShape);
    Operand.accept("b", b, device, Types.FP8_E4M3, bShape);
    Operand.accept("bScale", bScale, device, Types.FP32 | Types.ANY_STRIDES, bScaleShape);
    Operand.accept("d", d, device, result | Types.OUT, dShape);
    if (config.bias()) {
      Operand.accept("bias", bias, device, result, biasShape);
      Operand.separate("d", d, "bias", bias);
    } else if (bias != null) {
      throw new IllegalArgumentException("bias is " + bias + "; expected null, for a product without bias");
    }
    Operand.separate("d", d, "a", a);
    Operand.separate("d", d, "aScale", aScale);
    Operand.separate("d", d, "b", b);
    Operand.separate("d", d, "bScale", bScale);
  }

  /** Computes with operands that are right. Called with the device's lock held. */
  abstract void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d);
}
