// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** Copies of bytes to, from and between GPUs. */
final class Copies {
  private Copies() {}

  /** In the current stream of the GPU that is written, or else read; async: without waiting for it. */
  static void between(Tensor source, Tensor target, boolean async) {
    CudaDevice gpu = (CudaDevice) (target.device().isHost() ? source.device() : target.device());
    source.storage().export(); // neither goes away meanwhile
    target.storage().export();
    try {
      gpu.call(() -> {
        if (!async) {
          gpu.requireNotCapturing("the host cannot wait for a copy");
        }
        if (target.device() instanceof CudaDevice && source.device() instanceof CudaDevice other && other != gpu) {
          other.synchronize(); // what it does there still is in no order with this
        }
        gpu.copy(source.memory(), target.memory());
        return null;
      });
      if (!async) {
        gpu.stream().synchronize();
      }
    } finally {
      source.storage().exportDone();
      target.storage().exportDone();
    }
  }
}
