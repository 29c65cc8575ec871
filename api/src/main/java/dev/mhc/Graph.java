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
public final class Graph implements AutoCloseable {
  private final DeviceGraph work;

  private Graph(DeviceGraph work) {
    this.work = work;
  }

  /**
   * Captures what Java code puts on a device's current stream, and prepares it.
   *
   * @param device whose operations they are
   * @param operations calls them
   * @throws CudaException if something cannot be captured
   */
  public static Graph capture(Device device, Runnable operations) {
    Check.given("operations", operations, "what to capture");
    var graph = new Graph(switch (Check.given("device", device, "a Device")) {
      case CpuDevice cpu -> new CpuGraph(cpu, operations);
      case CudaDevice cuda -> new CudaGraph(cuda, operations);
    });
    Leaks.watch(graph, "graph of " + device.name(), graph.work.closed());
    return graph;
  }

  /** How many kernels and copies a launch runs: what a GPU is asked for. On a CPU 1, the Java code. */
  public int size() {
    return work.size();
  }

  /** The device. */
  public Device device() {
    return work.device();
  }

  /** Puts the operations on the device's current stream. */
  public void launch() {
    work.launch();
  }

  /**
   * Takes other operations, or other operands, in place of those it has; cheap where only operands differ. Launches before
   * are not touched.
   *
   * @param operations calls them
   */
  public void update(Runnable operations) {
    work.update(Check.given("operations", operations, "what to capture"));
  }

  /** Whether it can no longer be used. */
  public boolean isClosed() {
    return work.closed().getAsBoolean();
  }

  /** Ends it; launches before run to their end. Does nothing when closed. */
  @Override
  public void close() {
    work.close();
  }
}
