// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.Fp8GemmConfig.Scaling;
import dev.mhc.bindings.generated.cublaslt.cublaslt_h;
import java.lang.System.Logger.Level;
import org.jspecify.annotations.Nullable;

/** An FP8 product on a GPU, which multiplies tiles and scales their sums; where it has none, what {@link CudaWideFp8} does. */
final class CudaFp8Gemm extends Fp8Gemm {
  private static final int FIRST_WITH_TILES = 120900; // of cuBLASLt

  private final @Nullable CudaProduct direct;
  private @Nullable CudaWideFp8 wide;
  private final CudaScales aScales;
  private final CudaScales bScales;

  CudaFp8Gemm(CudaDevice device, Fp8GemmConfig config) {
    super(device, config);
    var form = new LtPlan.Form(false, true, cublaslt_h.CUBLAS_COMPUTE_32F(), config.bias(), config.activation(),
        mode(config.aScaling()), mode(config.bScaling()));
    direct = product(device, form, config);
    wide = direct == null ? new CudaWideFp8(device, config) : null;
    aScales = new CudaScales(device, config.aScaling(), config.m(), config.k());
    bScales = new CudaScales(device, config.bScaling(), config.n(), config.k());
  }

  /** Null if cuBLASLt has no such product. */
  private static @Nullable CudaProduct product(CudaDevice device, LtPlan.Form form, Fp8GemmConfig config) {
    try {
      return new CudaProduct(device, form, LtMatrix.compact(DType.FP8_E4M3, config.m(), config.k(), 1),
          LtMatrix.compact(DType.FP8_E4M3, config.n(), config.k(), 1),
          LtMatrix.compact(config.dType(), config.m(), config.n(), 1), config.bias() ? config.dType() : null);
    } catch (CublasException e) {
      if (!Cublas.isUnsupported(e)) {
        throw e;
      }
      boolean tooOld = config.aScaling() == Scaling.ROW_TILE && Cublas.version() < FIRST_WITH_TILES;
      Native.LOG.log(tooOld ? Level.INFO : Level.DEBUG, "FP8 matrices are dequantised first: {0}", tooOld
          ? "cuBLASLt " + Cublas.versionText() + " has no products with 1 x 128 and 128 x 128 scales, which came with 12.9"
          : e.getMessage());
      return null;
    }
  }

  @Override
  public boolean isDirect() {
    return direct != null;
  }

  private static int mode(Scaling scaling) {
    return switch (scaling) {
      case TENSOR -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F();
      case ROW_TILE -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F();
      case SQUARE_TILE -> cublaslt_h.CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F();
    };
  }

  @Override
  void compute(Tensor a, Tensor aScale, Tensor b, Tensor bScale, @Nullable Tensor bias, Tensor d) {
    if (config.m() == 0 || config.n() == 0 || config.k() == 0) {
      finishEmpty(bias, d);
    } else if (direct != null && direct.takes(a, b, d)) {
      direct.run(1, 0, a, aScales.address(aScale), b, bScales.address(bScale), bias, d);
    } else {
      wide().compute(a, aScale, b, bScale, bias, d);
    }
  }

  private CudaWideFp8 wide() {
    CudaWideFp8 made = wide;
    if (made == null) {
      made = new CudaWideFp8((CudaDevice) device, config);
      wide = made;
    }
    return made;
  }

  /** D is what bias and activation make of zero, or has no elements. */
  private void finishEmpty(@Nullable Tensor bias, Tensor d) {
    if (d.elements() == 0) {
      return;
    }
    GemmConfig sum = GemmConfig.of(d.dtype(), config.m(), config.n(), 0).withEpilogue(config.bias(), config.activation());
    try (Gemm gemm = Gemm.create(device, sum);
        Tensor nothing = Tensor.allocate(device, d.dtype(), new long[] {config.m(), 0}, false)) {
      gemm.compute(nothing, nothing.reshape(0, config.n()), bias, d);
    }
  }

  @Override
  void release() {
    if (direct != null) {
      direct.close();
    }
    if (wide != null) {
      wide.close();
    }
    aScales.close();
    bScales.close();
  }
}
