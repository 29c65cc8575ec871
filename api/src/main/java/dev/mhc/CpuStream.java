// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** A CPU's operations are done when their call returns, so that nothing is ever left to wait for. */
final class CpuStream implements DeviceStream {
  private final CpuDevice device;
  private final boolean owned; // else it is the device's own, and ends with it
  private volatile boolean closed;

  CpuStream(CpuDevice device, boolean owned) {
    this.device = device;
    this.owned = owned;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public void await(DeviceEvent event) {
    requireOpen();
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
    closed = owned;
  }
}
