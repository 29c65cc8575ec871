// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A prepared matrix product: algorithm and workspace are chosen when it is made, so that a call only computes. Belongs to
 * a device, and ends with it.
 *
 * <p>Operands are row-major; rows may be apart, and the matrices of a batch too. Sums are of FP32 and rounded once, to
 * the type of D. A CPU computes with OpenBLAS, a GPU with cuBLASLt and, lists of matrices,
 * with cuBLAS.
 *
 * <p>Thread-safe: calls of one device wait for each other.
 *
 * {@snippet file="dev/mhc/examples/MatrixProducts.java" region="gemm"}
 */
public abstract sealed class Gemm extends Prepared permits CpuGemm, CudaGemm {
  final GemmConfig config;
  private final Operand.Shape aShape;
  private final Operand.Shape bShape;
  private final Operand.Shape dShape;
  private final Operand.Shape biasShape;

  Gemm(Device device, GemmConfig config) {
    super(device);
    this.config = config;
    String batch = config.batch() == 0 ? "[" : "[batch, ";
    aShape = new Operand.Shape(batch + (config.transposeA() ? "k, m]" : "m, k]"), config.aShape());
    bShape = new Operand.Shape(batch + (config.transposeB() ? "n, k]" : "k, n]"), config.bShape());
    dShape = new Operand.Shape(batch + "m, n]", config.dShape());
    biasShape = new Operand.Shape("[n]", config.n());
  }

  /**
   * Prepares a product.
   *
   * @param device where it runs
   * @param config which it is
   * @throws NativeLibraryException if the library that computes it cannot be loaded
   * @throws CublasException if the GPU has no algorithm for it
   */
  public static Gemm create(Device device, GemmConfig config) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "a GemmConfig");
    return watched("Gemm of " + config.m() + " x " + config.n() + " x " + config.k(), () -> switch (device) {
      case CpuDevice cpu -> new CpuGemm(cpu, config);
      case CudaDevice cuda -> new CudaGemm(cuda, config);
    });
  }

  /** The product that was prepared. */
  public GemmConfig config() {
    return config;
  }

  /**
   * Computes a product without bias.
   *
   * @param a {@code [m, k]}, {@code [k, m]} if transposed, with a first dimension if a batch
   * @param b {@code [k, n]}, {@code [n, k]} if transposed, likewise
   * @param d {@code [m, n]}, likewise, written; in memory of its own
   */
  public void run(Tensor a, Tensor b, Tensor d) {
    run(a, b, null, d);
  }

  /**
   * Computes the product.
   *
   * @param a {@code [m, k]}, {@code [k, m]} if transposed, with a first dimension if a batch
   * @param b {@code [k, n]}, {@code [n, k]} if transposed, likewise
   * @param bias {@code [n]}, of the type of d; null if the product has none
   * @param d {@code [m, n]}, likewise, written; in memory of its own
   * @throws IllegalStateException if this or a tensor is closed
   */
  public void run(Tensor a, Tensor b, @Nullable Tensor bias, Tensor d) {
    try (var _ = device.held()) {
      requireOpen();
      check(Names.ONE, a, b, bias, d);
      OperationEvent event = OperationEvent.start();
      compute(a, b, bias, d);
      OperationEvent.finish(event, "gemm", device, config.m());
    }
  }

  /**
   * Computes products of matrices that lie anywhere: what was prepared, for each of the lists' elements.
   *
   * <p>A GPU computes all of them in one call of cuBLAS where they have neither bias nor activation, the rows of all A are as
   * far apart, those of all B and all D too, and every matrix begins at a multiple of 16 bytes; otherwise, and where libcublas
   * is missing, one after the other. It keeps the addresses of the last lists, and the first call takes workspace: lists that
   * one call computes are run once before a {@link Graph} captures them. Unlike a single product, a call makes some small
   * objects on the heap for each element.
   *
   * @param a as {@link #run(Tensor, Tensor, Tensor, Tensor)} has it, one for each product
   * @param b likewise, as many
   * @param bias of all products; null if they have none
   * @param d likewise, as many, written; each in memory of its own
   * @throws IllegalStateException if this or a tensor is closed, or a graph is captured and the lists are not those of the last
   *     run; like any other exception before anything is computed
   */
  public void run(List<Tensor> a, List<Tensor> b, @Nullable Tensor bias, List<Tensor> d) {
    int products = Check.given("a", a, "a list of tensors").size();
    Check.same("b", Check.given("b", b, "a list of tensors").size(), "a", products);
    Check.same("d", Check.given("d", d, "a list of tensors").size(), "a", products);
    try (var _ = device.held()) {
      requireOpen();
      for (int i = 0; i < products; i++) {
        check(new Names("a[" + i + "]", "b[" + i + "]", "d[" + i + "]"), a.get(i), b.get(i), bias, d.get(i));
      }
      new Places().add("a", a, false).add("b", b, false).add("d", d, true).requireSeparate();
      OperationEvent event = OperationEvent.start();
      compute(a, b, bias, d);
      OperationEvent.finish(event, "gemm", device, config.m() * products);
    }
  }

  private void requireOpen() {
    device.handle();
    if (isClosed()) {
      throw new IllegalStateException("the Gemm is closed");
    }
  }

  /** What messages call the operands. */
  private record Names(String a, String b, String d) {
    static final Names ONE = new Names("a", "b", "d");
  }

  private void check(Names names, Tensor a, Tensor b, @Nullable Tensor bias, Tensor d) {
    int result = Types.of(config.dType());
    Operand.accept(names.a, a, device, Types.of(config.aType()), aShape);
    Operand.accept(names.b, b, device, Types.of(config.bType()), bShape);
    Operand.accept(names.d, d, device, result | Types.OUT, dShape);
    if (config.bias()) {
      Operand.accept("bias", bias, device, result, biasShape);
      Operand.separate(names.d, d, "bias", bias);
    } else if (bias != null) {
      throw new IllegalArgumentException("bias is " + bias + "; expected null, for a product without bias");
    }
    Operand.separate(names.d, d, names.a, a);
    Operand.separate(names.d, d, names.b, b);
  }

  /** Computes products with operands that are right, one after the other. Called with the device's lock held. */
  void compute(List<Tensor> a, List<Tensor> b, @Nullable Tensor bias, List<Tensor> d) {
    for (int i = 0; i < a.size(); i++) {
      compute(a.get(i), b.get(i), bias, d.get(i));
    }
  }

  /** Computes with operands that are right. Called with the device's lock held. */
  abstract void compute(Tensor a, Tensor b, @Nullable Tensor bias, Tensor d);
}
