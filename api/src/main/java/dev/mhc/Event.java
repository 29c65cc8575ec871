// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * A point in the work of a {@link Stream}: happens when all that was on the stream before it is done. Belongs to a device,
 * and ends with it. Thread-safe.
 */
public abstract sealed class Event implements AutoCloseable permits CpuEvent, CudaEvent {
  Event() {}

  /** A new event, to be recorded. */
  public static Event create(Device device) {
    return switch (Check.given("device", device, "a Device")) {
      case CpuDevice cpu -> new CpuEvent(cpu);
      case CudaDevice cuda -> new CudaEvent(cuda);
    };
  }

  /** The device whose work it is about. */
  public abstract Device device();

  /** Puts it on a stream; where it was before is forgotten. */
  public abstract void record(Stream stream);

  /** Whether it has happened. */
  public abstract boolean isDone();

  /** Waits until it has happened. Blocks. */
  public abstract void synchronize();

  /**
   * The device's time from one event to this one, in milliseconds.
   *
   * @throws IllegalStateException if one of them was not recorded
   */
  public final double millisecondsSince(Event start) {
    if (Check.given("start", start, "an Event").device() != device()) {
      throw new IllegalArgumentException("start belongs to another device, " + start.device() + "; expected one of "
          + device());
    }
    start.requireRecorded();
    requireRecorded();
    start.synchronize();
    synchronize();
    return elapsed(start);
  }

  private void requireRecorded() {
    requireOpen();
    if (!isRecorded()) {
      throw new IllegalStateException("the event was not recorded; expected Event.record or Stream.record before");
    }
  }

  final void requireSameDevice(Stream stream) {
    if (Check.given("stream", stream, "a Stream").device() != device()) {
      throw new IllegalArgumentException("stream belongs to another device, " + stream.device() + "; expected one of "
          + device());
    }
  }

  final void requireOpen() {
    if (isClosed()) {
      throw new IllegalStateException("the event is closed");
    }
  }

  abstract boolean isRecorded();

  /** Of an event that has happened, since one that has. */
  abstract double elapsed(Event start);

  /** Whether it can no longer be used. */
  public abstract boolean isClosed();

  /** Ends it; who waits for it goes on as before. Does nothing when closed. */
  @Override
  public abstract void close();
}
