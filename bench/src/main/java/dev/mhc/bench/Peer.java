// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;

/** Another library that does the work of a boundary. A service, which the profile "peers" adds. */
public interface Peer {
  /** The library, with its version. */
  String name();

  /** What of it makes gradients. */
  String differentiator();

  /** Of the rows, that the library can work with. */
  DType type();

  /** The work of a case whose forward and backward mhc did before, on the same rows or copies, with as many threads. */
  Work work(BoundaryCase boundary, int threads);

  /** The same work as that of a {@link BoundaryCase}. */
  interface Work extends AutoCloseable {
    /** The forward of the next set of rows. */
    void forward();

    /** Forward and backward of the next set of rows. */
    void forwardAndBackward();

    /** Compares forward and backward of the first set with what the case computed on it. */
    void check();

    @Override
    void close();
  }
}
