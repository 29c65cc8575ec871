// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Operations put together once and launched often, at a GPU's price of one. On a GPU the Java code that calls them runs when
 * they are captured, and nothing is computed then; on a CPU it runs at each launch.
 *
 * <p>What an operation has to allocate or choose when it first meets a shape cannot happen while it is captured: run the
 * operations once before. Nor can tensors be made, their values be read, or streams be waited for. All operations go to the
 * device's current stream, or to streams that wait for it and that it waits for in the end.
 *
 * <p>The memory of tensors that were open when the capture began stays until the graph is closed, even if they are closed
 * before; so does workspace. Launches and calls of the stream that it was captured on come one after the other; who runs a
 * {@link Gemm}, {@link Fp8Gemm} or {@link Muon} that is in a graph on a third stream orders the two.
 *
 * <p>Belongs to a device, and ends with it. Thread-safe; other threads wait while one captures.
 */
public abstract sealed class Graph implements AutoCloseable permits CpuGraph, CudaGraph {
  Graph() {}

  /**
   * Captures what Java code puts on a device's current stream, and prepares it.
   *
   * @param device whose operations they are
   * @param operations calls them
   * @throws CudaException if something cannot be captured
   */
  public static Graph capture(Device device, Runnable operations) {
    Check.given("operations", operations, "what to capture");
    return switch (Check.given("device", device, "a Device")) {
      case CpuDevice cpu -> new CpuGraph(cpu, operations);
      case CudaDevice cuda -> new CudaGraph(cuda, operations);
    };
  }

  /** How many kernels and copies a launch runs: what a GPU is asked for. On a CPU 1, the Java code. */
  public abstract int size();

  /** The device. */
  public abstract Device device();

  /** Puts the operations on the device's current stream. */
  public abstract void launch();

  /**
   * Takes other operations, or other operands, in place of those it has; cheap where only operands differ. Launches before
   * are not touched.
   *
   * @param operations calls them
   */
  public abstract void update(Runnable operations);

  /** Whether it can no longer be used. */
  public abstract boolean isClosed();

  /** Ends it; launches before run to their end. Does nothing when closed. */
  @Override
  public abstract void close();

  final void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("the graph is closed");
    }
  }
}
