// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * The Muon optimiser for matrices of one shape: the update is the momentum, made orthogonal by Newton-Schulz steps.
 *
 * <pre>
 *   momentum  = momentumFactor momentum + gradient
 *   u         = gradient + momentumFactor momentum          (Nesterov; else the momentum itself)
 *   X         = u / (|u|_F + eps)
 *   X         = a X + (b X X^T + c (X X^T)^2) X             for each step
 *   parameter = (1 - learningRate weightDecay) parameter - learningRate scale X
 * </pre>
 *
 * <p>A matrix with more rows than columns is iterated as its transpose, which is the same and takes less. A CPU iterates
 * in float32 with OpenBLAS, a GPU with products in TF32; there the norm is {@code sqrt(|u|_F^2 + eps^2)}.
 *
 * <p>Belongs to a device, and ends with it. Thread-safe: calls of one device wait for each other.
 *
 * {@snippet file="dev/mhc/examples/MuonStep.java" region="muon"}
 */
public abstract sealed class Muon extends Prepared permits CpuMuon, CudaMuon {
  final MuonConfig config;
  final long rows;
  final long columns;
  private final long[] shape;

  Muon(Device device, MuonConfig config, long batch, long rows, long columns) {
    super(device);
    this.config = config;
    this.rows = rows;
    this.columns = columns;
    shape = batch == 0 ? new long[] {rows, columns} : new long[] {batch, rows, columns};
  }

  /**
   * Prepares updates of single matrices.
   *
   * @param device where they run
   * @param config what they are
   * @param rows of each matrix, 1 to 2^31 - 1
   * @param columns of each matrix, likewise
   * @throws NativeLibraryException if the library that computes them cannot be loaded
   */
  public static Muon create(Device device, MuonConfig config, long rows, long columns) {
    return create(device, config, 0, rows, columns);
  }

  /**
   * Prepares updates of batches of matrices.
   *
   * @param device where they run
   * @param config what they are
   * @param batch how many matrices a tensor holds, in its first dimension; 0: tensors are single matrices
   * @param rows of each matrix, 1 to 2^31 - 1
   * @param columns of each matrix, likewise
   * @throws NativeLibraryException if the library that computes them cannot be loaded
   */
  public static Muon create(Device device, MuonConfig config, long batch, long rows, long columns) {
    Check.given("device", device, "a Device");
    Check.given("config", config, "a MuonConfig");
    Check.range("batch", batch, 0, Integer.MAX_VALUE);
    Check.range("rows", rows, 1, Integer.MAX_VALUE);
    Check.range("columns", columns, 1, Integer.MAX_VALUE);
    Check.size("the shape of all matrices", Math.max(1, batch), rows, columns);
    return watched("Muon of " + rows + " x " + columns, () -> switch (device) {
      case CpuDevice cpu -> new CpuMuon(cpu, config, batch, rows, columns);
      case CudaDevice cuda -> new CudaMuon(cuda, config, batch, rows, columns);
    });
  }

  /** What was prepared. */
  public MuonConfig config() {
    return config;
  }

  /**
   * Makes each matrix orthogonal, without momentum or scale: singular values about 1, singular vectors as they were. A
   * matrix of zeros stays zero; NaN stays in its own matrix.
   *
   * @param matrix {@code [rows, columns]} or {@code [batch, rows, columns]} {@link DType#BF16}, {@link DType#FP16} or
   *     {@link DType#FP32}
   * @param result of that shape and any of these types, written; may be the matrix itself
   */
  public void orthogonalize(Tensor matrix, Tensor result) {
    try (var _ = device.held()) {
      requireOpen();
      accept("matrix", matrix, Types.ROW);
      accept("result", result, Types.ROW | Types.OUT);
      OperationEvent event = OperationEvent.start();
      computeOrthogonal(matrix, result);
      OperationEvent.finish(event, "muon_orthogonalize", device, rows);
    }
  }

  /**
   * Takes one step.
   *
   * @param parameter {@code [rows, columns]} or {@code [batch, rows, columns]} {@link DType#BF16}, {@link DType#FP16} or
   *     {@link DType#FP32}, updated
   * @param gradient of that shape, of any of these types
   * @param momentum of that shape, {@link DType#FP32}, updated; zeros before the first step
   * @param learningRate at least 0; in a {@link Graph} on a GPU one that an earlier step had, which its launches keep
   */
  public void step(Tensor parameter, Tensor gradient, Tensor momentum, float learningRate) {
    Check.notNegative("learningRate", learningRate);
    try (var _ = device.held()) {
      requireOpen();
      accept("parameter", parameter, Types.ROW | Types.OUT);
      accept("gradient", gradient, Types.ROW);
      accept("momentum", momentum, Types.FP32 | Types.OUT);
      Operand.separate("parameter", parameter, "gradient", gradient);
      Operand.separate("parameter", parameter, "momentum", momentum);
      Operand.separate("momentum", momentum, "gradient", gradient);
      OperationEvent event = OperationEvent.start();
      computeStep(parameter, gradient, momentum, learningRate);
      OperationEvent.finish(event, "muon_step", device, rows);
    }
  }

  private void accept(String name, Tensor tensor, int types) {
    Operand.accept(name, tensor, device, types, shape.length == 2 ? "[rows, columns]" : "[batch, rows, columns]", shape);
    if (!tensor.isCompact()) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected row-major elements without gaps");
    }
  }

  private void requireOpen() {
    device.handle();
    if (isClosed()) {
      throw new IllegalStateException("the Muon is closed");
    }
  }

  /** Matrices in a tensor. */
  final long batch() {
    return shape.length == 2 ? 1 : shape[0];
  }

  /** Computes with operands that are right. Called with the device's lock held, as is the next. */
  abstract void computeOrthogonal(Tensor matrix, Tensor result);

  abstract void computeStep(Tensor parameter, Tensor gradient, Tensor momentum, float learningRate);
}
