// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudaGraphExecUpdateResultInfo_st;
import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** A cudaGraphExec_t. Guarded by the device's lock. */
final class CudaGraph extends Graph implements Child {
  private final CudaDevice device;
  private MemorySegment executable = MemorySegment.NULL;
  private List<Storage> held = List.of();
  private volatile int size;
  private volatile boolean closed;

  CudaGraph(CudaDevice device, Runnable operations) {
    this.device = device;
    device.call(() -> {
      MemorySegment graph = captured(operations);
      try {
        executable = instantiate(graph);
        count(graph);
      } finally {
        device.giveBack("cudaGraphDestroy", () -> cudart_h.cudaGraphDestroy(graph));
      }
      held = CpuGraph.hold(device);
      device.add(this);
      return null;
    });
  }

  private MemorySegment captured(Runnable operations) {
    CudaStream stream = device.currentStream();
    device.requireNotCapturing("a graph cannot be captured");
    MemorySegment handle = stream.handle();
    Cuda.check(cudart_h.cudaStreamBeginCapture(handle, cudart_h.cudaStreamCaptureModeThreadLocal()), "cudaStreamBeginCapture",
        device.name());
    stream.capturing = true;
    boolean complete = false;
    try {
      operations.run();
      complete = true;
    } finally {
      stream.capturing = false;
      if (!complete) {
        drop(handle);
      }
    }
    return Cuda.pointer("cudaStreamEndCapture", device.name(), result -> cudart_h.cudaStreamEndCapture(handle, result));
  }

  private void count(MemorySegment graph) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment nodes = arena.allocate(ValueLayout.JAVA_LONG);
      Cuda.check(cudart_h.cudaGraphGetNodes(graph, MemorySegment.NULL, nodes), "cudaGraphGetNodes", device.name());
      size = (int) nodes.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  @Override
  public int size() {
    return size;
  }

  /** Ends a capture that came to nothing. */
  private static void drop(MemorySegment stream) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
      cudart_h.cudaStreamEndCapture(stream, result);
      MemorySegment graph = result.get(ValueLayout.ADDRESS, 0);
      if (graph.address() != 0) {
        cudart_h.cudaGraphDestroy(graph);
      }
      cudart_h.cudaGetLastError(); // what failed has been said
    }
  }

  private MemorySegment instantiate(MemorySegment graph) {
    return Cuda.pointer("cudaGraphInstantiate", device.name(), result -> cudart_h.cudaGraphInstantiate(result, graph, 0));
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void launch() {
    device.call(() -> {
      requireOpen();
      Cuda.check(cudart_h.cudaGraphLaunch(executable, device.currentStream().handle()), "cudaGraphLaunch", device.name());
      return null;
    });
  }

  @Override
  public void update(Runnable operations) {
    Check.given("operations", operations, "what to capture");
    device.call(() -> {
      requireOpen();
      MemorySegment graph = captured(operations);
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment result = arena.allocate(cudaGraphExecUpdateResultInfo_st.layout());
        int code = cudart_h.cudaGraphExecUpdate(executable, graph, result);
        if (code == cudart_h.cudaErrorGraphExecUpdateFailure()) { // it has another shape
          cudart_h.cudaGetLastError();
          MemorySegment next = instantiate(graph);
          destroyExecutable();
          executable = next;
        } else {
          Cuda.check(code, "cudaGraphExecUpdate", device.name());
        }
        count(graph);
      } finally {
        device.giveBack("cudaGraphDestroy", () -> cudart_h.cudaGraphDestroy(graph));
      }
      List<Storage> before = held;
      held = CpuGraph.hold(device);
      before.forEach(Storage::exportDone);
      return null;
    });
  }

  private void destroyExecutable() {
    MemorySegment gone = executable;
    device.giveBack("cudaGraphExecDestroy", () -> cudart_h.cudaGraphExecDestroy(gone));
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    try (var _ = device.held()) {
      if (closed) {
        return;
      }
      closed = true;
      device.remove(this);
      destroyExecutable();
      held.forEach(Storage::exportDone);
      held = List.of();
    }
  }
}
