// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** Workspace that calls on several streams of a GPU use one after the other. Guarded by the device's lock. */
final class Turns {
  private @Nullable CudaStream last;

  /** What is put on a stream from now on may use the workspace. */
  void take(CudaStream stream) {
    CudaStream before = last;
    if (before != null && before != stream && !before.isClosed()) {
      stream.follow(before);
    }
    last = stream;
  }
}
