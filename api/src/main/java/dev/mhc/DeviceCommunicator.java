// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.Optional;

/**
 * What a {@link Communicator} is on its kind of device, which knows this, and not who holds the Communicator. Arguments are
 * checked.
 */
abstract class DeviceCommunicator implements Child {
  final Device device;
  final CommunicatorOptions options;

  DeviceCommunicator(Device device, CommunicatorOptions options) {
    this.device = device;
    this.options = options;
  }

  abstract int rank();

  abstract int ranks();

  abstract void startAllReduce(Tensor src, Tensor dst, ReduceOp op);

  abstract void startAllGather(Tensor src, Tensor dst);

  abstract void startReduceScatter(Tensor src, Tensor dst, ReduceOp op);

  abstract void startBroadcast(Tensor tensor, int root);

  abstract void startSend(Tensor tensor, int peer);

  abstract void startReceive(Tensor tensor, int peer);

  abstract void barrier();

  abstract void abort();

  abstract Optional<MhcException> asyncError();

  abstract boolean isClosed();

  /** Throws if it is closed or has failed. */
  abstract void requireUsable();

  @Override
  public final String toString() {
    return "rank " + rank() + " of " + ranks() + " on " + device + (isClosed() ? " (closed)" : "");
  }
}
