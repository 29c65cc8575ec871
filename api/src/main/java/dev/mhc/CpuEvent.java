// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** When it was recorded, all before it was done. */
final class CpuEvent implements DeviceEvent {
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
  public void record(DeviceStream stream) {
    requireOpen();
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
  public boolean isRecorded() {
    return recorded;
  }

  @Override
  public double elapsed(DeviceEvent start) {
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
