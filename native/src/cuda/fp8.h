// SPDX-License-Identifier: Apache-2.0
// FP8: the scale of a tile from its largest magnitude, quotients in E4M3, and where both go. Sixteen channels are a thread's.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// Infinities and NaNs do not count.
MHC_FN float counted_magnitude(float v) {
  float magnitude = fabsf(v);
  return magnitude <= 3.4028234e38f ? magnitude : 0.0f;
}

// max(amax, floor) / 448, at least 2^-126; with power_of_two the next one at or above.
MHC_FN float fp8_scale_of(float amax, float floor, bool power_of_two) {
  float scale = (amax > floor ? amax : floor) / 448.0f;
  scale = scale > 0x1p-126f ? scale : 0x1p-126f;
  if (!power_of_two) return scale;
  uint32_t bits = bits_from_float(scale);
  return float_from_bits((bits + 0x7fffffu) & 0x7f800000u);
}

// What a tile's elements are divided by.
struct Fp8Divisor {
  float lift, divisor, inverse;

  MHC_FN explicit Fp8Divisor(float scale) {
    lift = scale < 0x1p-60f ? 0x1p64f : 1.0f;  // keeps the remainder of the division out of the subnormals
    divisor = scale * lift;
    inverse = 1.0f / divisor;
  }
  // v / scale in one rounding, for a magnitude of at most 448; infinity and NaN become NaN, 0x7f.
  MHC_FN uint32_t quotient(float v) const {
    const float dividend = fabsf(v) * lift;
    float quotient = dividend * inverse;
    quotient = fmaf(fmaf(-quotient, divisor, dividend), inverse, quotient);
    const float rest = fmaf(-quotient, divisor, dividend);
    uint32_t bits = bits_from_float(quotient);  // rounded to odd, so that the rounding below is the only one
    if (rest < 0.0f) bits = (bits - 1) | 1;
    if (rest > 0.0f) bits = bits | 1;
    const uint32_t normal = (bits + (bits >> 20 & 1) + 0x7ffffu - (120u << 23)) >> 20;
    const uint32_t subnormal = bits_from_float(float_from_bits(bits) + 0x1p14f) & 0xf;  // 2^14 rounds at 2^-9
    const uint32_t magnitude = bits < (127u - 6) << 23 ? subnormal : normal;
    return quotient != quotient ? 0x7fu : magnitude | (bits_from_float(v) >> 24 & 0x80u);
  }
  // Of eight channels, four to a word.
  template <class T>
  MHC_FN void quotients(const Piece<T>& piece, uint32_t (&words)[2]) const {
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      words[w] = 0;
#pragma unroll
      for (int e = 0; e < 4; ++e) words[w] |= quotient(piece[4 * w + e]) << 8 * e;
    }
  }
};

// The first count of sixteen bytes.
MHC_FN void store_bytes(uint8_t* p, const Bits16& bytes, int64_t count, bool aligned) {
  if (aligned && count >= 16) return store16_once(p, bytes);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (i < count) store1(p + i, static_cast<uint8_t>(bytes.word[i / 4] >> i % 4 * 8));
  }
}
MHC_FN Bits16 load_bytes(const uint8_t* p, int64_t count, bool aligned) {
  if (aligned && count >= 16) return load16_once(p);
  Bits16 bytes = {};
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (i < count) bytes.word[i / 4] |= static_cast<uint32_t>(load1(p + i)) << i % 4 * 8;
  }
  return bytes;
}

// Sixteen channels of a row.
template <class X>
struct Sixteen {
  Piece<X> half[2];

  MHC_FN void load(const X* p, int64_t count, bool aligned) {
    half[0] = load_piece(p, count, aligned);
    half[1] = load_piece(p + kPiece, count - kPiece, aligned);
  }
  MHC_FN float largest() const {
    float most = 0.0f;
#pragma unroll
    for (int e = 0; e < 2 * kPiece; ++e) most = fmaxf(most, counted_magnitude(half[e / kPiece][e % kPiece]));
    return most;
  }
  MHC_FN void quantize(float scale, uint8_t* p, int64_t count, bool aligned) const {
    const Fp8Divisor by(scale);
    uint32_t low[2], high[2];
    by.quotients(half[0], low);
    by.quotients(half[1], high);
    store_bytes(p, {{low[0], low[1], high[0], high[1]}}, count, aligned);
  }
};

// Where scales go: fp32, or the exponent byte of E8M0.
struct ScaleTarget {
  char* data = nullptr;
  int64_t stride[2] = {};
  bool e8m0 = false;

  ScaleTarget() = default;
  explicit ScaleTarget(const View& view)
      : data(view.given ? view.data : nullptr), stride{view.stride[0], view.stride[1]}, e8m0(view.type == DType::E8M0) {}
  MHC_FN void put(int64_t row, int64_t column, float scale) const {
    int64_t at = row * stride[0] + column * stride[1];
    if (e8m0) {
      store1(reinterpret_cast<uint8_t*>(data) + at, static_cast<uint8_t>(bits_from_float(scale) >> 23));
    } else {
      store1(reinterpret_cast<float*>(data) + at, scale);
    }
  }
};

}  // namespace mhc::cuda
