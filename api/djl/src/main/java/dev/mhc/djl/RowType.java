// SPDX-License-Identifier: Apache-2.0
package dev.mhc.djl;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.Expand;
import dev.mhc.Head;
import dev.mhc.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The element type of streams and layer tensors, where F computes in FP32: layer tensors {@code [T, C]} on their way from one
 * type to the other. Where both are FP32 nothing is copied. The copies are native, a stack of one stream in and out.
 */
final class RowType {
  private final Device device;
  private final DType type;
  private @Nullable Tensor made; // by an operation
  private @Nullable Tensor given; // to an operation
  private final List<Tensor> copies = new ArrayList<>(); // by layer

  RowType(Device device, DType type) {
    this.device = device;
    this.type = type;
  }

  private boolean isSame() {
    return type == DType.FP32;
  }

  /** Where an operation writes what {@link #widen} is to put into an FP32 tensor: itself, or a tensor of this type. */
  Tensor narrowTarget(Tensor wide) {
    if (isSame()) {
      return wide;
    }
    return made = made == null ? device.tensor(type, wide.shape()) : made;
  }

  /** Puts what was written to {@link #narrowTarget} into the FP32 tensor. */
  void widen(Tensor from, Tensor wide) {
    if (!isSame()) {
      Expand.forward(from, oneStream(wide));
    }
  }

  /** An FP32 tensor in this type, until the next one. */
  Tensor narrow(Tensor wide) {
    if (isSame()) {
      return wide;
    }
    given = given == null ? device.tensor(type, wide.shape()) : given;
    Head.sum(oneStream(wide), given);
    return given;
  }

  /** An FP32 tensor in this type, to be kept for a layer. */
  Tensor narrowCopy(int layer, Tensor wide) {
    if (isSame()) {
      return wide;
    }
    while (copies.size() <= layer) {
      copies.add(device.tensor(type, wide.shape()));
    }
    Head.sum(oneStream(wide), copies.get(layer));
    return copies.get(layer);
  }

  private static Tensor oneStream(Tensor rows) {
    return rows.reshape(rows.dim(0), 1, rows.dim(1));
  }

  void free() {
    copies.forEach(Tensor::close);
    copies.clear();
    for (Tensor each : new @Nullable Tensor[] {made, given}) {
      if (each != null) {
        each.close();
      }
    }
    made = null;
    given = null;
  }
}
