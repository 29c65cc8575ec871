// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;

/** Another library that does the work of a boundary. A service, which the profile "peers" adds. */
public interface Peer {
  /** The library, with its version. */
  String name();

  /** Of the rows, that the library can work with. */
  DType type();

  /** The work of a case on the peer's own copies of its rows, with as many threads. */
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
