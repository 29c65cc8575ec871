// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** An operand of an FP8 product in float32: each element times its scale. Guarded by the device's lock. */
final class WideFp8 implements AutoCloseable {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  final Tensor values;
  private final Fp8.Tile tile;
  private final @Nullable Tensor one; // the scale of a whole matrix
  private final @Nullable Tensor spread; // the same memory as the scale of each tile

  WideFp8(Device device, Scaling scaling, long rows, long columns) {
    values = Tensor.allocate(device, DType.FP32, new long[] {rows, columns}, false);
    tile = scaling == Scaling.SQUARE_TILE ? Fp8.Tile.SQUARE : Fp8.Tile.ROW;
    one = scaling == Scaling.TENSOR ? Tensor.allocate(device, DType.FP32, new long[] {1}, false) : null;
    spread = one == null ? null : Tensor.wrap(device, DType.FP32, one.segment(), Fp8.scaleShape(tile, rows, columns),
        new long[] {0, 0});
  }

  void take(Tensor src, Tensor scale) {
    if (one == null || spread == null) {
      Fp8.dequantize(src, scale, tile, values);
      return;
    }
    if (src.device().isHost()) {
      one.segment().set(FLOAT, 0, scale.segment().get(FLOAT, 0)); // allocates nothing
    } else {
      one.copyFrom(scale);
    }
    Fp8.dequantize(src, spread, tile, values);
  }

  @Override
  public void close() {
    values.close();
    if (one != null && spread != null) {
      spread.close();
      one.close();
    }
  }
}
