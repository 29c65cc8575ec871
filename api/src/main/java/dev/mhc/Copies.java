// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** Copies of bytes to, from and between GPUs. */
final class Copies {
  private Copies() {}

  /** In the current stream of the GPU that is written, or else read; async: without waiting for it. */
  static void between(Tensor source, Tensor target, boolean async) {
    source.storage().export(); // neither goes away meanwhile
    target.storage().export();
    try {
      if (source.device() instanceof CudaDevice from && target.device() instanceof CudaDevice to && from != to) {
        acrossGpus(from, source, to, target);
      } else {
        CudaDevice gpu = (CudaDevice) (target.device().isHost() ? source.device() : target.device());
        onOneGpu(gpu, source, target, async);
      }
    } finally {
      source.storage().exportDone();
      target.storage().exportDone();
    }
  }

  private static void onOneGpu(CudaDevice gpu, Tensor source, Tensor target, boolean async) {
    gpu.call(() -> {
      if (!async) {
        gpu.requireNotCapturing("the host cannot wait for a copy");
      }
      gpu.copy(source.memory(), target.memory());
      return null;
    });
    if (!async) {
      gpu.stream().synchronize();
    }
  }

  /**
   * After what is on the current streams of both devices, and before what is put on them from now on: also a free of the
   * source. Never with the locks of both: opposite copies would wait for each other.
   */
  private static void acrossGpus(CudaDevice from, Tensor source, CudaDevice to, Tensor target) {
    from.admit(to);
    var written = new CudaEvent(from, false);
    var read = new CudaEvent(to, false);
    try {
      from.call(() -> {
        from.requireNotCapturing("a copy to another device cannot be made");
        from.currentStream().record(written);
        return null;
      });
      to.call(() -> {
        to.requireNotCapturing("a copy from another device cannot be made");
        to.currentStream().follow(written);
        to.copy(source.memory(), target.memory());
        to.currentStream().record(read);
        return null;
      });
      from.call(() -> {
        from.currentStream().follow(read);
        return null;
      });
    } finally {
      written.close();
      read.close();
    }
  }
}
