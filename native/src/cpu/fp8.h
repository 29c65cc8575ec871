// SPDX-License-Identifier: Apache-2.0
// E4M3 with one scale per tile of 128 columns. Every path that quantises uses this, so that all give the same bits.
// Infinities and NaNs do not take part in a tile's amax and become NaN; the tile's other elements are as without them.
#pragma once

#include "core/arguments.h"
#include "cpu/dispatch.h"
#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

constexpr int kFp8Tile = 128;

inline F finite_magnitude(F v) {
  F magnitude = abs(v);
  return select_less(magnitude, set(__builtin_inff()), magnitude, zero());
}

// max(amax, floor) / 448, or the next power of two; at least 2^-126.
inline float fp8_scale(float amax, float amax_floor, int32_t rounding) {
  uint32_t bits = bits_of_float(std::max(std::max(amax, amax_floor) / 448.0f, 0x1p-126f));
  if (rounding == MHC_FP8_SCALE_POWER_OF_TWO) bits = (bits + 0x7fffffu) & 0x7f800000u;
  return float_of_bits(bits);
}

// An E8M0 scale is its exponent.
inline void store_fp8_scale(void* scale, DType type, int64_t index, float value) {
  if (type == DType::E8M0) {
    store1(static_cast<uint8_t*>(scale) + index, static_cast<uint8_t>(bits_of_float(value) >> 23));
  } else {
    store1(static_cast<float*>(scale) + index, value);
  }
}

// What a tile's elements are divided by.
struct Fp8Divisor {
  explicit Fp8Divisor(float scale) {
    lift = set(scale < 0x1p-60f ? 0x1p64f : 1.0f);  // keeps the remainder of the division out of the subnormals
    divisor = set(scale) * lift;
    inverse = set(1.0f) / divisor;
  }
  F lift, divisor, inverse;

  void store(e4m3* p, F v, int64_t left) const { store_quotient_upto(p, v * lift, divisor, inverse, left); }
};

// One row by 1x128 tiles; the scale of tile i goes to index i * scale_stride of scale, float or E8M0.
template <class H>
void fp8_quantize_row(const H* src, int64_t width, uint8_t* dst, void* scale, DType scale_type, int64_t scale_stride,
                      int32_t rounding, float amax_floor) {
  constexpr int kVectors = kFp8Tile / W;
  for (int64_t tile = 0; tile * kFp8Tile < width; ++tile) {
    int64_t begin = tile * kFp8Tile, count = std::min<int64_t>(kFp8Tile, width - begin);
    e4m3* out = reinterpret_cast<e4m3*>(dst + begin);
    F v[kVectors], amax = zero();
    if (count == kFp8Tile) {
      for (int k = 0; k < kVectors; ++k) {
        v[k] = load(src + begin + k * W);
        amax = max(amax, finite_magnitude(v[k]));
      }
    } else {
      for (int k = 0; k * W < count; ++k) {
        v[k] = load_upto(src + begin + k * W, count - k * W);
        amax = max(amax, finite_magnitude(v[k]));
      }
    }
    float value = fp8_scale(max_of(amax), amax_floor, rounding);
    store_fp8_scale(scale, scale_type, tile * scale_stride, value);
    Fp8Divisor by(value);
    if (count == kFp8Tile) {
      for (int k = 0; k < kVectors; ++k) by.store(out + k * W, v[k], W);
    } else {
      for (int k = 0; k * W < count; ++k) by.store(out + k * W, v[k], count - k * W);
    }
  }
}

// The scale of a tile; E8M0 is 2^(bits - 127), and NaN for 255.
inline float load_fp8_scale(const View& scale, int64_t down, int64_t across) {
  if (scale.type == DType::E8M0) return e8m0_to_float(load1(scale.at<uint8_t>(down) + across * scale.stride[1]));
  return load1(scale.at<float>(down) + across * scale.stride[1]);
}

// Channels first ... last - 1 of a row whose scales are row down of scale, to dst and what follows it.
template <class H>
void fp8_dequantize_row(const e4m3* src, const View& scale, int64_t down, int64_t first, int64_t last, H* dst) {
  for (int64_t begin = first; begin < last;) {
    const int64_t tile = begin / kFp8Tile, end = std::min(last, (tile + 1) * kFp8Tile);
    const F by = set(load_fp8_scale(scale, down, tile));
    for (int64_t c = begin; c < end; c += W) {
      store_upto(dst + c - first, load_upto(src + c, end - c) * by, end - c);
    }
    begin = end;
  }
}

}  // namespace mhc::cpu::MHC_TIER
