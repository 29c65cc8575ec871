// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** A CPU's operations are done when their call returns, so that nothing is ever left to wait for. */
final class CpuStream extends Stream {
  private final CpuDevice device;
  private volatile boolean closed;

  CpuStream(CpuDevice device, Priority priority) {
    super(priority);
    this.device = device;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void run(Runnable operations) {
    Check.given("operations", operations, "what to run");
    requireOpen();
    device.runOn(this, operations);
  }

  @Override
  public void await(Event event) {
    requireOpen();
    requireSameDevice(event);
    event.requireOpen();
  }

  @Override
  public void synchronize() {
    requireOpen();
  }

  @Override
  public boolean isDone() {
    requireOpen();
    return true;
  }

  @Override
  public boolean isClosed() {
    return closed || device.isClosed();
  }

  @Override
  public void close() {
    closed = !device.isFirst(this) || device.isClosed();
  }
}
