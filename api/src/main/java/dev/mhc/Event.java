// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * A point in the work of a {@link Stream}: happens when all that was on the stream before it is done. Belongs to a device,
 * and ends with it. Thread-safe.
 */
public final class Event implements AutoCloseable {
  final DeviceEvent work;

  private Event(DeviceEvent work) {
    this.work = work;
  }

  /** A new event, to be recorded. */
  public static Event create(Device device) {
    Event event = unwatched(Check.given("device", device, "a Device"));
    Leaks.watch(event, "event of " + device.name(), event.work::isClosed);
    return event;
  }

  /** As {@link #create}, for an owner that reports its own leak. */
  static Event unwatched(Device device) {
    return new Event(switch (device) {
      case CpuDevice cpu -> new CpuEvent(cpu);
      case CudaDevice cuda -> new CudaEvent(cuda);
    });
  }

  /** The device whose work it is about. */
  public Device device() {
    return work.device();
  }

  /** Puts it on a stream; where it was before is forgotten. */
  public void record(Stream stream) {
    if (Check.given("stream", stream, "a Stream").device() != device()) {
      throw new IllegalArgumentException("stream belongs to another device, " + stream.device() + "; expected one of "
          + device());
    }
    work.record(stream.work);
  }

  /** Whether it has happened. */
  public boolean isDone() {
    return work.isDone();
  }

  /** Waits until it has happened. Blocks. */
  public void synchronize() {
    work.synchronize();
  }

  /**
   * The device's time from one event to this one, in milliseconds.
   *
   * @throws IllegalStateException if one of them was not recorded
   */
  public double millisecondsSince(Event start) {
    if (Check.given("start", start, "an Event").device() != device()) {
      throw new IllegalArgumentException("start belongs to another device, " + start.device() + "; expected one of "
          + device());
    }
    start.requireRecorded();
    requireRecorded();
    start.synchronize();
    synchronize();
    return work.elapsed(start.work);
  }

  private void requireRecorded() {
    work.requireOpen();
    if (!work.isRecorded()) {
      throw new IllegalStateException("the event was not recorded; expected Event.record or Stream.record before");
    }
  }

  /** Whether it can no longer be used. */
  public boolean isClosed() {
    return work.isClosed();
  }

  /** Ends it; who waits for it goes on as before. Does nothing when closed. */
  @Override
  public void close() {
    work.close();
  }
}
