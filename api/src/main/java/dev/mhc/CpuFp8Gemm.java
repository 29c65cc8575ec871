// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** An FP8 product on the CPU: dequantised by libmhc, multiplied in float32. */
final class CpuFp8Gemm extends Fp8Gemm {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final CpuProduct product;
  private final Wide wideA;
  private final Wide wideB;

  CpuFp8Gemm(CpuDevice device, Fp8GemmConfig config) {
    super(device, config);
    product = new CpuProduct(device, GemmConfig.of(DType.FP32, config.m(), config.n(), config.k())
        .withTransposed(false, true).withEpilogue(config.bias(), config.activation()));
    wideA = new Wide(device, config.aScaling(), config.m(), config.k());
    wideB = new Wide(device, config.bScaling(), config.n(), config.k());
  }

  @Override
  void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    wideA.take(a, aScale);
    wideB.take(b, bScale);
    product.compute(wideA.values, wideB.values, bias, d);
  }

  /** An operand in float32. */
  private static final class Wide implements AutoCloseable {
    final Tensor values;
    private final Fp8.Tile tile;
    private final @Nullable Tensor one; // the scale of a whole matrix
    private final @Nullable Tensor spread; // the same memory as the scale of each tile

    Wide(CpuDevice device, Scaling scaling, long rows, long columns) {
      values = Tensor.allocate(device, DType.FP32, new long[] {rows, columns}, false);
      tile = scaling == Scaling.SQUARE_TILE ? Fp8.Tile.SQUARE : Fp8.Tile.ROW;
      one = scaling == Scaling.TENSOR ? Tensor.allocate(device, DType.FP32, new long[] {1}, false) : null;
      spread = one == null ? null : Tensor.wrap(device, DType.FP32, one.segment(), Fp8.scaleShape(tile, rows, columns),
          new long[] {0, 0});
    }

    void take(Tensor src, Tensor scale) {
      if (one == null || spread == null) {
        Fp8.dequantize(src, scale, tile, values);
      } else {
        one.segment().set(FLOAT, 0, scale.segment().get(FLOAT, 0));
        Fp8.dequantize(src, spread, tile, values);
      }
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

  @Override
  boolean isReleased() {
    return product.isClosed();
  }

  @Override
  void release() {
    product.close();
    wideA.close();
    wideB.close();
  }
}
