// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** A cudaEvent_t. */
final class CudaEvent implements DeviceEvent, Child {
  private final CudaDevice device;
  private final MemorySegment handle;
  private volatile boolean recorded;
  private @Nullable Capture capture; // that it was last recorded in
  private volatile boolean closed;

  CudaEvent(CudaDevice device) {
    this(device, true);
  }

  /** owned: by the device, which closes it with its other children; else by whoever made it, and it takes no time. */
  CudaEvent(CudaDevice device, boolean owned) {
    this.device = device;
    handle = device.call(() -> Cuda.pointer("cudaEventCreateWithFlags", device.name(),
        result -> cudart_h.cudaEventCreateWithFlags(result,
            owned ? cudart_h.cudaEventDefault() : cudart_h.cudaEventDisableTiming())));
    if (owned) {
      device.add(this);
    }
  }

  /** Call with the device's lock held, as is that of the next. */
  MemorySegment handle() {
    requireOpen();
    return handle;
  }

  void recorded(@Nullable Capture within) {
    capture = within;
    recorded = true;
  }

  /** The capture that waits for it take part in; null if it happens in a stream, or its capture is over. */
  @Nullable Capture capture() {
    return capture == null || capture.isOver() ? null : capture;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void record(DeviceStream stream) {
    device.call(() -> {
      ((CudaStream) stream).record(this);
      return null;
    });
  }

  @Override
  public boolean isDone() {
    return device.call(() -> {
      device.requireNotCapturing("an event cannot be asked about");
      return Cuda.isReady(cudart_h.cudaEventQuery(handle()), "cudaEventQuery", device.name());
    });
  }

  @Override
  public void synchronize() {
    MemorySegment waited = device.call(() -> {
      device.requireNotCapturing("an event cannot be waited for");
      return handle();
    });
    device.waitFor(() -> cudart_h.cudaEventSynchronize(waited), "cudaEventSynchronize");
  }

  @Override
  public boolean isRecorded() {
    return recorded;
  }

  @Override
  public double elapsed(DeviceEvent start) {
    return device.call(() -> {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment result = arena.allocate(ValueLayout.JAVA_FLOAT);
        Cuda.check(cudart_h.cudaEventElapsedTime(result, ((CudaEvent) start).handle(), handle()), "cudaEventElapsedTime",
            device.name());
        return (double) result.get(ValueLayout.JAVA_FLOAT, 0);
      }
    });
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    try (var _ = device.held()) {
      if (!closed) {
        closed = true;
        device.remove(this);
        device.giveBack("cudaEventDestroy", () -> cudart_h.cudaEventDestroy(handle));
      }
    }
  }
}
