// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/**
 * Work of a device in order: an operation begins when those put on the same stream before it are done. Operations of
 * different streams may run side by side; who lets one use what another writes orders them with {@link #record} and
 * {@link #await}. On a GPU a call returns when its operation is put on the stream; on a CPU, when it is done.
 *
 * <p>Every device has a stream to begin with; {@link #run} leads operations to another. Each stream of a GPU has workspace of
 * its own. Belongs to a device, and ends with it. Thread-safe.
 */
public final class Stream implements AutoCloseable {
  /** Whose operations a device prefers where it has a choice. */
  public enum Priority {
    /** As most. */
    NORMAL,
    /** Before the others; a CPU makes no difference. */
    HIGH
  }

  final DeviceStream work;
  private final Priority priority;

  Stream(DeviceStream work, Priority priority) {
    this.work = work;
    this.priority = priority;
  }

  /** A new stream of {@link Priority#NORMAL}. */
  public static Stream create(Device device) {
    return create(device, Priority.NORMAL);
  }

  /**
   * A new stream.
   *
   * @param device whose operations it takes
   * @param priority among the streams of the device
   * @throws CudaException if a GPU has no room for its workspace
   */
  public static Stream create(Device device, Priority priority) {
    Check.given("priority", priority, "a Priority");
    Stream stream = unwatched(Check.given("device", device, "a Device"), priority);
    Leaks.watch(stream, "stream of " + device.name(), stream.work::isClosed);
    return stream;
  }

  /** As {@link #create(Device, Priority)}, for an owner that reports its own leak. */
  static Stream unwatched(Device device, Priority priority) {
    return new Stream(switch (device) {
      case CpuDevice cpu -> cpu.newStream();
      case CudaDevice cuda -> cuda.newStream(priority);
    }, priority);
  }

  /** The device whose operations it takes. */
  public Device device() {
    return work.device();
  }

  /** Its priority. */
  public Priority priority() {
    return priority;
  }

  /**
   * Runs Java code whose operations on this stream's device, in this thread, go to this stream.
   *
   * @param operations calls them
   * @throws IllegalStateException if this stream is closed
   */
  public void run(Runnable operations) {
    Check.given("operations", operations, "what to run");
    work.requireOpen();
    device().current.run(this, operations);
  }

  /** A new event, which happens when all that is on this stream now is done. */
  public Event record() {
    Event event = Event.create(device());
    try {
      event.record(this);
      return event;
    } catch (RuntimeException | Error e) {
      event.close();
      throw e;
    }
  }

  /** What is put on this stream from now on begins when the event has happened; this call does not wait. */
  public void await(Event event) {
    if (Check.given("event", event, "an Event").device() != device()) {
      throw new IllegalArgumentException("event belongs to another device, " + event.device() + "; expected one of "
          + device());
    }
    work.await(event.work);
  }

  /** Waits until all that is on this stream is done. Blocks. */
  public void synchronize() {
    work.synchronize();
  }

  /** Whether all that is on this stream is done. */
  public boolean isDone() {
    return work.isDone();
  }

  /** Whether it can no longer be used. */
  public boolean isClosed() {
    return work.isClosed();
  }

  /** Waits until all that is on this stream is done, and ends it; a device's own stays. Does nothing when closed. */
  @Override
  public void close() {
    work.close();
  }
}
