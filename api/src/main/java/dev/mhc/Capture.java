// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;

/**
 * What is being captured on a GPU: the stream where it began, those that joined it by waiting for its events, and the memory
 * that its operations may use. Guarded by the device's lock, which is held from begin to end, so that there is one at a time.
 */
final class Capture {
  private final CudaStream origin;
  private final List<CudaStream> streams = new ArrayList<>();
  private final LinkedHashSet<CudaStream> before = new LinkedHashSet<>();
  private boolean over;

  /** Begins in a stream. Memory that is closed while it lasts is still there in the end: its owner lets it go then. */
  Capture(CudaStream origin) {
    this.origin = origin;
    origin.enter(this);
  }

  void add(CudaStream stream) {
    streams.add(stream);
  }

  /** What is on a stream now comes before the first launch; an order that a graph cannot hold. */
  void comesAfter(CudaStream stream) {
    before.add(stream);
  }

  boolean isOver() {
    return over;
  }

  /** The streams take work again. */
  void end() {
    over = true;
    streams.forEach(CudaStream::leave);
  }

  /** Keeps the order that was asked for meanwhile. Call when the capture has ended well. */
  void settle() {
    for (CudaStream stream : before) {
      if (!stream.isClosed()) {
        origin.follow(stream);
      }
    }
  }
}
