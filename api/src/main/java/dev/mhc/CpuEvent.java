// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** When it was recorded, all before it was done. */
final class CpuEvent extends Event {
  private final CpuDevice device;
  private volatile long nanoseconds;
  private volatile boolean recorded;
  private volatile boolean closed;

  CpuEvent(CpuDevice device) {
    this.device = device;
    device.synchronize(); // open
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void record(Stream stream) {
    requireOpen();
    requireSameDevice(stream);
    stream.requireOpen();
    nanoseconds = System.nanoTime();
    recorded = true;
  }

  @Override
  public boolean isDone() {
    requireOpen();
    return true;
  }

  @Override
  public void synchronize() {
    requireOpen();
  }

  @Override
  boolean isRecorded() {
    return recorded;
  }

  @Override
  double elapsed(Event start) {
    return (nanoseconds - ((CpuEvent) start).nanoseconds) / 1e6;
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    closed = true;
  }
}
