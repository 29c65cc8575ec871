// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A cudaStream_t with the native context whose workspace its operations use: two operations at a time must not share one.
 * Guarded by the device's lock.
 */
final class CudaStream implements DeviceStream, Child {
  private final CudaDevice device;
  private final MemorySegment handle;
  private final boolean owned; // else it is one of the device's own, and ends with it
  private final MemorySegment context;
  private boolean isCaptured; // graphs use the context's workspace
  private @Nullable CudaEvent fence;
  private @Nullable CudaEvent beforeCapture;
  private @Nullable Capture capture;
  private volatile boolean closed;

  CudaStream(CudaDevice device, MemorySegment handle, MemorySegment context, boolean owned) {
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
    event.recorded(capture);
  }

  /** What is put on this stream from now on comes after what is on the other, of this device, now. */
  void follow(CudaStream other) {
    if (other == this) {
      return;
    }
    if (other.capture != null && capture == null) { // not after what is only captured: that would join it
      CudaEvent before = other.beforeCapture;
      if (before != null) {
        follow(before);
      }
    } else if (other.capture == null && capture != null) {
      capture.comesAfter(other);
    } else {
      CudaEvent event = other.fence;
      if (event == null) {
        event = new CudaEvent(device, false);
        other.fence = event;
      }
      other.record(event);
      follow(event);
    }
  }

  /** What is put on this stream from now on comes after the event, of any device. In a capture it takes part in that. */
  void follow(CudaEvent event) {
    Capture joined = event.capture();
    boolean enters = joined != null && capture == null;
    if (joined != null && enters) {
      enter(joined);
    }
    try {
      Cuda.check(cudart_h.cudaStreamWaitEvent(handle(), event.handle(), 0), "cudaStreamWaitEvent", device.name());
    } catch (CudaException e) {
      if (enters) {
        leave();
      }
      throw e;
    }
  }

  /** Takes part in a capture from now on; what is on it before can still be waited for. */
  void enter(Capture entered) {
    CudaEvent event = beforeCapture;
    if (event == null) {
      event = new CudaEvent(device, false);
      beforeCapture = event;
    }
    record(event);
    capture = entered;
    isCaptured = true;
    entered.add(this);
  }

  void leave() {
    capture = null;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void await(DeviceEvent event) {
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

  /** Ends it, one of the device's own too. */
  void release() {
    try (var _ = device.held()) {
      if (closed) {
        return;
      }
      if (capture != null) {
        throw new IllegalStateException("a stream cannot be closed while a graph is captured on it");
      }
      for (CudaEvent event : new CudaEvent[] {fence, beforeCapture}) {
        if (event != null) {
          event.close();
        }
      }
      closed = true;
      device.remove(this);
      device.giveBack("cudaStreamSynchronize", () -> cudart_h.cudaStreamSynchronize(handle));
      device.giveBack("cudaStreamDestroy", () -> cudart_h.cudaStreamDestroy(handle));
      if (owned) {
        device.giveBackContext(context, isCaptured);
      }
    }
  }
}
