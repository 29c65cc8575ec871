// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.mhc_fp8_dequantize_args;
import dev.mhc.bindings.generated.mhc_fp8_quantize_args;

/**
 * FP8 as in DeepSeek-V3: E4M3 with one scale for each tile, {@code value = scale * fp8}. Thread-safe; a call allocates
 * nothing.
 */
public final class Fp8 {
  /** What {@code amaxFloor} 0 stands for: the least largest value that a tile is scaled by. */
  public static final float DEFAULT_AMAX_FLOOR = 1e-4f;

  private static final int TILE = 128;

  /** The part of a matrix that shares a scale; the last of a row or column may be smaller. */
  public enum Tile {
    /** 1 x 128, for activations. */
    ROW,
    /** 128 x 128, for weights. */
    SQUARE
  }

  /** How a scale is rounded. */
  public enum Rounding {
    /** Not at all: the largest value of a tile becomes 448. */
    EXACT,
    /** Up to a power of two, so that the largest value still fits. {@link DType#E8M0} scales need it. */
    POWER_OF_TWO
  }

  private Fp8() {}

  /**
   * The shape of the scales of a matrix.
   *
   * @param tile the part that shares one
   * @param rows M, at least 0
   * @param columns K, at least 0
   */
  public static long[] scaleShape(Tile tile, long rows, long columns) {
    Check.given("tile", tile, "a Tile");
    Check.range("rows", rows, 0, Long.MAX_VALUE - TILE);
    Check.range("columns", columns, 0, Long.MAX_VALUE - TILE);
    return new long[] {tile == Tile.ROW ? rows : tiles(rows), tiles(columns)};
  }

  /**
   * A tensor of zeros for the scales of a matrix, of {@link #scaleShape}, that lies as cuBLASLt reads it: with {@link Tile#ROW}
   * rows next to each other, with {@link Tile#SQUARE} columns, and a multiple of four of them. Any other is as good for the
   * result; this one an {@link Fp8Gemm} on a GPU need not copy.
   *
   * @param device whose tensor it is
   * @param tile the part that shares a scale
   * @param rows M, at least 0
   * @param columns K, at least 0
   */
  public static Tensor scales(Device device, Tile tile, long rows, long columns) {
    return Tensor.allocate(device, DType.FP32, scaleShape(tile, rows, columns), scaleStrides(tile, rows, columns));
  }

  static long[] scaleStrides(Tile tile, long rows, long columns) {
    return tile == Tile.ROW ? new long[] {1, padded(rows)} : new long[] {padded(tiles(columns)), 1};
  }

  private static long padded(long extent) {
    return (extent + 3) / 4 * 4;
  }

  /**
   * {@code dst = round_to_nearest_even(src / scale)}, {@code scale = max(largest |src| of the tile, amaxFloor) / 448}.
   *
   * @param src {@code [M, K]} {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}
   * @param dst {@code [M, K]} {@link DType#FP8_E4M3}, written
   * @param scale of {@link #scaleShape}, {@link DType#FP32}, or {@link DType#E8M0} with POWER_OF_TWO; with any strides;
   *     written
   * @param tile the part that shares a scale
   * @param rounding of the scales
   */
  public static void quantize(Tensor src, Tensor dst, Tensor scale, Tile tile, Rounding rounding) {
    quantize(src, dst, scale, tile, rounding, 0);
  }

  /**
   * As {@link #quantize(Tensor, Tensor, Tensor, Tile, Rounding)}, with another floor.
   *
   * @param src {@code [M, K]}
   * @param dst {@code [M, K]}, written
   * @param scale of {@link #scaleShape}, written
   * @param tile the part that shares a scale
   * @param rounding of the scales
   * @param amaxFloor above 0, or 0 for {@value #DEFAULT_AMAX_FLOOR}
   */
  public static void quantize(Tensor src, Tensor dst, Tensor scale, Tile tile, Rounding rounding, float amaxFloor) {
    Check.given("tile", tile, "a Tile");
    Check.given("rounding", rounding, "a Rounding");
    Check.notNegative("amaxFloor", amaxFloor);
    Call call = Operations.begin(Operation.FP8_QUANTIZE, "src", src);
    try {
      call.put(mhc_fp8_quantize_args.tile$offset(), tile.ordinal());
      call.put(mhc_fp8_quantize_args.scale_rounding$offset(), rounding.ordinal());
      call.put(mhc_fp8_quantize_args.amax_floor$offset(), amaxFloor);
      call.put(mhc_fp8_quantize_args.src$offset(), "src", src, Types.ROW, "[M, K]", -1, -1);
      long rows = src.shape[0];
      long columns = src.shape[1];
      call.put(mhc_fp8_quantize_args.dst$offset(), "dst", dst, Types.FP8_E4M3 | Types.OUT, "[M, K]", rows, columns);
      putScale(call, mhc_fp8_quantize_args.scale$offset(), scale,
          (rounding == Rounding.POWER_OF_TWO ? Types.SCALE : Types.FP32) | Types.OUT, tile, rows, columns);
      call.run(rows);
    } finally {
      call.end();
    }
  }

  /**
   * {@code dst = src * scale}.
   *
   * @param src {@code [M, K]} {@link DType#FP8_E4M3}
   * @param scale of {@link #scaleShape}, {@link DType#FP32} or {@link DType#E8M0}, with any strides
   * @param tile the part that shares a scale
   * @param dst {@code [M, K]} {@link DType#BF16}, {@link DType#FP16} or {@link DType#FP32}, written
   */
  public static void dequantize(Tensor src, Tensor scale, Tile tile, Tensor dst) {
    Check.given("tile", tile, "a Tile");
    Call call = Operations.begin(Operation.FP8_DEQUANTIZE, "src", src);
    try {
      call.put(mhc_fp8_dequantize_args.tile$offset(), tile.ordinal());
      call.put(mhc_fp8_dequantize_args.src$offset(), "src", src, Types.FP8_E4M3, "[M, K]", -1, -1);
      long rows = src.shape[0];
      long columns = src.shape[1];
      putScale(call, mhc_fp8_dequantize_args.scale$offset(), scale, Types.SCALE, tile, rows, columns);
      call.put(mhc_fp8_dequantize_args.dst$offset(), "dst", dst, Types.ROW | Types.OUT, "[M, K]", rows, columns);
      call.run(rows);
    } finally {
      call.end();
    }
  }

  private static void putScale(Call call, long offset, Tensor scale, int types, Tile tile, long rows, long columns) {
    if (tile == Tile.ROW) {
      call.put(offset, "scale", scale, types | Types.ANY_STRIDES, "[M, ceil(K / 128)]", rows, tiles(columns));
    } else {
      call.put(offset, "scale", scale, types | Types.ANY_STRIDES, "[ceil(M / 128), ceil(K / 128)]", tiles(rows),
          tiles(columns));
    }
  }

  private static long tiles(long extent) {
    return (extent + TILE - 1) / TILE;
  }
}
