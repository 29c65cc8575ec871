// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.gpu;

import dev.mhc.Accumulate;
import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig;
import dev.mhc.Sinkhorn;
import dev.mhc.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Sinkhorn of one large matrix, and its backward; each beside what its logits, its result and their gradients have in bytes. */
final class Matrices implements AutoCloseable {
  /** The sizes that tile differently, from one that a block holds to one that no cache does. */
  static final List<Long> SIZES = List.of(64L, 128L, 512L, 2048L, 4096L, 8192L);

  private final List<Tensor> owned;
  private final Map<String, Kernels.Kernel> kernels = new LinkedHashMap<>();

  Matrices(Device device, long size) {
    HyperConnectionConfig paper = HyperConnectionConfig.Preset.PAPER.config(4); // 20 iterations
    Tensor logits = Rows.random(device, DType.FP32, 1, 1, size, size);
    Tensor dOut = Rows.random(device, DType.FP32, 2, 1, size, size);
    Tensor made = device.tensor(DType.FP32, 1, size, size);
    owned = List.of(logits, dOut, made);
    long bytes = 4 * logits.elements();
    kernels.put("sinkhorn_large", new Kernels.Kernel(2 * bytes, count -> {
      for (int i = 0; i < count; i++) {
        Sinkhorn.forward(paper, logits, made);
      }
    }));
    kernels.put("sinkhorn_large_backward", new Kernels.Kernel(3 * bytes, count -> {
      for (int i = 0; i < count; i++) {
        Sinkhorn.backward(paper, logits, dOut, made, Accumulate.NONE);
      }
    }));
  }

  Map<String, Kernels.Kernel> all() {
    return kernels;
  }

  @Override
  public void close() {
    owned.forEach(Tensor::close);
  }
}
