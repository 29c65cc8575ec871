// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;

/** A library that does not load on this machine. */
public final class BrokenPeer implements Peer {
  @Override
  public String name() {
    return "broken";
  }

  @Override
  public String differentiator() {
    return "nothing";
  }

  @Override
  public DType type() {
    return DType.FP32;
  }

  @Override
  public Work work(BoundaryCase boundary, int threads) {
    throw new ExceptionInInitializerError(new UnsatisfiedLinkError("no broken in java.library.path"));
  }
}
