// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A cudaStream_t with the native context whose workspace its operations use: two operations at a time must not share one.
 * Guarded by the device's lock.
 */
final class CudaStream extends Stream implements Child {
  private final CudaDevice device;
  private final MemorySegment handle;
  private final MemorySegment context;
  private final boolean owned; // else it is the device's first, and ends with it
  private @Nullable CudaEvent fence;
  private volatile boolean closed;
  boolean capturing;

  CudaStream(CudaDevice device, Priority priority, MemorySegment handle, MemorySegment context, boolean owned) {
    super(priority);
    this.device = device;
    this.handle = handle;
    this.context = context;
    this.owned = owned;
    if (owned) {
      device.add(this);
    }
  }

  /** Call with the device's lock held, as all that follow here. */
  MemorySegment handle() {
    requireOpen();
    return handle;
  }

  MemorySegment context() {
    requireOpen();
    return context;
  }

  void record(CudaEvent event) {
    Cuda.check(cudart_h.cudaEventRecord(event.handle(), handle()), "cudaEventRecord", device.name());
    event.recorded();
  }

  /** What is put on this stream from now on comes after what is on the other now. */
  void follow(CudaStream other) {
    if (other != this) {
      if (other.fence == null) {
        other.fence = new CudaEvent(device, false);
      }
      other.record(other.fence);
      follow(other.fence);
    }
  }

  private void follow(CudaEvent event) {
    Cuda.check(cudart_h.cudaStreamWaitEvent(handle(), event.handle(), 0), "cudaStreamWaitEvent", device.name());
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void run(Runnable operations) {
    requireOpen();
    device.runOn(this, operations);
  }

  @Override
  public void await(Event event) {
    requireSameDevice(event);
    device.call(() -> {
      follow((CudaEvent) event);
      return null;
    });
  }

  @Override
  public void synchronize() {
    MemorySegment waited = device.call(() -> {
      device.requireNotCapturing("a stream cannot be waited for");
      return handle();
    });
    device.waitFor(() -> cudart_h.cudaStreamSynchronize(waited), "cudaStreamSynchronize");
  }

  @Override
  public boolean isDone() {
    return device.call(() -> {
      device.requireNotCapturing("a stream cannot be asked about");
      return Cuda.isReady(cudart_h.cudaStreamQuery(handle()), "cudaStreamQuery", device.name());
    });
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    if (owned) {
      release();
    }
  }

  /** Ends it, the device's first too. */
  void release() {
    try (var _ = device.held()) {
      if (closed) {
        return;
      }
      if (fence != null) {
        fence.close();
      }
      closed = true;
      device.remove(this);
      device.giveBack("cudaStreamSynchronize", () -> cudart_h.cudaStreamSynchronize(handle));
      device.giveBack("cudaStreamDestroy", () -> cudart_h.cudaStreamDestroy(handle));
      if (owned) {
        device.destroyContext(context);
      }
    }
  }
}
