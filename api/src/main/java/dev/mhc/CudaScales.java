// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import dev.mhc.bindings.generated.cudart.cudart_h;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * Scales of a matrix as cuBLASLt reads them: of 1 x 128 tiles those of a column of tiles one behind the other, of 128 x 128
 * tiles those of a row; each column or row padded to a multiple of four. Others are copied. Guarded by the device's lock.
 */
final class CudaScales {
  private final CudaDevice device;
  private final long[] shape;
  private final long[] strides;
  private @Nullable Storage copy;

  CudaScales(CudaDevice device, Scaling scaling, long rows, long columns) {
    this.device = device;
    shape = scaling.scaleShape(rows, columns);
    strides = scaling == Scaling.TENSOR ? new long[] {1}
        : Fp8.scaleStrides(scaling == Scaling.ROW_TILE ? Fp8.Tile.ROW : Fp8.Tile.SQUARE, rows, columns);
  }

  /** Where the scales are, as they have to be. */
  long address(Tensor scale) {
    boolean fits = scale.memory().address() % 16 == 0 || shape.length == 1;
    for (int i = 0; i < shape.length; i++) {
      fits &= shape[i] <= 1 || scale.strides[i] == strides[i];
    }
    if (fits) {
      return scale.memory().address();
    }
    Storage room = copy;
    if (room == null) {
      room = Storage.allocate(device, Math.max(strides[0] * shape[0], strides[1] * shape[1]) * Float.BYTES);
      copy = room;
    }
    if (scale.strides[0] > 0 && scale.strides[1] > 0) {
      copy(scale, room.data);
    } else {
      spread(scale, room.data);
    }
    return room.data.address();
  }

  /** Number by number, but without the host: a column of tiles at a time. */
  private void copy(Tensor scale, MemorySegment to) {
    MemorySegment from = scale.memory();
    device.call(() -> {
      for (long column = 0; column < shape[1]; column++) {
        Cuda.check(cudart_h.cudaMemcpy2DAsync(to.asSlice(4 * column * strides[1]), 4 * strides[0],
            from.asSlice(4 * column * scale.strides[1]), 4 * scale.strides[0], 4, shape[0], cudart_h.cudaMemcpyDefault(),
            device.currentStream().handle()), "cudaMemcpy2DAsync", device.name());
      }
      return null;
    });
  }

  /** Numbers that stand for several tiles. */
  private void spread(Tensor scale, MemorySegment to) {
    try (HostView from = HostView.reading(device, scale.memory()); HostView view = HostView.writing(device, to, true)) {
      for (long row = 0; row < shape[0]; row++) {
        for (long column = 0; column < shape[1]; column++) {
          float value = from.data.getAtIndex(ValueLayout.JAVA_FLOAT, row * scale.strides[0] + column * scale.strides[1]);
          view.data.setAtIndex(ValueLayout.JAVA_FLOAT, row * strides[0] + column * strides[1], value);
        }
      }
    }
  }

  void close() {
    if (copy != null) {
      copy.close();
    }
  }
}
