// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudaGraphExecUpdateResultInfo_st;
import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A cudaGraphExec_t. Guarded by the device's lock. */
final class CudaGraph implements DeviceGraph, Child {
  private final CudaDevice device;
  private MemorySegment executable = MemorySegment.NULL;
  private List<Storage> held = List.of();
  private @Nullable CudaStream capturedOn;
  private volatile int size;
  private volatile boolean closed;

  CudaGraph(CudaDevice device, Runnable operations) {
    this.device = device;
    device.call(() -> {
      capture(operations, graph -> executable = instantiate(graph));
      device.add(this);
      return null;
    });
  }

  /** Captures, makes an executable of it or changes one, and holds the memory that it may use from then on. */
  private void capture(Runnable operations, Consumer<MemorySegment> use) {
    CudaStream stream = device.currentStream();
    device.requireNotCapturing("a graph cannot be captured");
    List<Storage> memory = CpuGraph.hold(device); // before: what is closed meanwhile may be used by then
    boolean complete = false;
    try {
      MemorySegment graph = captured(stream, operations);
      try {
        use.accept(graph);
        count(graph);
      } finally {
        device.giveBack("cudaGraphDestroy", () -> cudart_h.cudaGraphDestroy(graph));
      }
      complete = true;
    } finally {
      List<Storage> unused = complete ? held : memory;
      held = complete ? memory : held;
      unused.forEach(Storage::exportDone);
    }
    capturedOn = stream;
  }

  private MemorySegment captured(CudaStream stream, Runnable operations) {
    MemorySegment handle = stream.handle();
    Capture capture = device.beginCapture(stream);
    boolean complete = false;
    MemorySegment graph;
    try {
      Cuda.check(cudart_h.cudaStreamBeginCapture(handle, cudart_h.cudaStreamCaptureModeThreadLocal()), "cudaStreamBeginCapture",
          device.name());
      operations.run();
      complete = true;
    } finally {
      device.endCapture(capture);
      if (!complete) {
        drop(handle);
      }
    }
    graph = Cuda.pointer("cudaStreamEndCapture", device.name(), result -> cudart_h.cudaStreamEndCapture(handle, result));
    capture.settle();
    return graph;
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
      CudaStream stream = device.currentStream();
      CudaStream home = capturedOn;
      boolean elsewhere = home != null && home != stream && !home.isClosed();
      if (home != null && elsewhere) {
        stream.follow(home); // its operations use the workspace of that stream
      }
      Cuda.check(cudart_h.cudaGraphLaunch(executable, stream.handle()), "cudaGraphLaunch", device.name());
      if (home != null && elsewhere) {
        home.follow(stream);
      }
      return null;
    });
  }

  @Override
  public void update(Runnable operations) {
    device.call(() -> {
      requireOpen();
      capture(operations, this::replace);
      return null;
    });
  }

  private void replace(MemorySegment graph) {
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
    }
  }

  private void destroyExecutable() {
    MemorySegment gone = executable;
    device.giveBack("cudaGraphExecDestroy", () -> cudart_h.cudaGraphExecDestroy(gone));
  }

  @Override
  public BooleanSupplier closed() {
    return () -> closed || device.isClosed();
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
