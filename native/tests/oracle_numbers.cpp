// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "oracle.h"

namespace oracle {
Float32Noise::Float32Noise(uint64_t seed) { noise_state = seed | 1; }
Float32Noise::~Float32Noise() { noise_state = 0; }

double dot(const double* a, const double* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum = kept(sum + a[i] * b[i]);
  return sum;
}
namespace {

// A binary format: bits of the significand with the leading one, least normal exponent, largest finite value.
struct Format {
  int digits, least_exponent;
  double largest;
};
constexpr Format kBf16{8, -126, 0x1.fep127};
constexpr Format kFp16{11, -14, 65504};
constexpr Format kFp32{24, -126, 0x1.fffffep127};
constexpr Format kE4m3{4, -6, 448};

// To the nearest multiple of the last place, ties to even; the caller decides what happens above the largest value.
double nearest(const Format& format, double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), format.least_exponent);
  const double place = std::ldexp(1.0, exponent - (format.digits - 1));
  return std::nearbyint(value / place) * place;
}

double to_format(const Format& format, double value) {
  const double near = nearest(format, value);
  return std::fabs(near) > format.largest ? std::copysign(std::numeric_limits<double>::infinity(), value) : near;
}

double scale_of(double amax, double amax_floor, int32_t rounding) {
  const float floor = amax_floor == 0 ? 1e-4f : (float)amax_floor;
  const float scale = std::max((float)amax, floor) / 448.0f;
  if (rounding == MHC_FP8_SCALE_EXACT) return scale;
  int exponent;
  const float fraction = std::frexp(scale, &exponent);  // in [0.5, 1)
  return std::ldexp(1.0, fraction == 0.5f ? exponent - 1 : exponent);
}

struct Tiling {
  int64_t rows, columns, tile_rows;
  int64_t across() const { return (columns + 127) / 128; }
  int64_t down() const { return (rows + tile_rows - 1) / tile_rows; }
  int64_t tile(int64_t r, int64_t c) const { return r / tile_rows * across() + c / 128; }
};

Tiling tiling(int64_t rows, int64_t columns, int32_t tile) {
  return {rows, columns, tile == MHC_FP8_TILE_1X128 ? 1 : 128};
}

}  // namespace

double rounded(Type type, double value) {
  switch (type) {
    case Type::bf16: return to_format(kBf16, value);
    case Type::fp16: return to_format(kFp16, value);
    case Type::fp32: return to_format(kFp32, value);
    default: return value;
  }
}

Array rounded(Type type, Array values) {
  for (double& v : values) v = rounded(type, v);
  return values;
}

double e4m3_value(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return std::copysign(std::numeric_limits<double>::quiet_NaN(), bits & 128 ? -1.0 : 1.0);
  const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return bits & 128 ? -size : size;
}

uint8_t e4m3_from(double value) {
  const uint8_t sign = std::signbit(value) ? 128 : 0;
  if (std::isnan(value)) return sign | 127;
  const double size = std::isinf(value) ? 448 : std::min(std::fabs(nearest(kE4m3, value)), 448.0);
  if (size < 0x1p-6) return sign | (uint8_t)std::ldexp(size, 9);
  const int exponent = std::ilogb(size);
  return sign | (uint8_t)((exponent + 7) << 3) | (uint8_t)(std::ldexp(size, 3 - exponent) - 8);
}

Quantized fp8_quantize(const Array& src, int64_t rows, int64_t columns, int32_t tile, int32_t scale_rounding, double amax_floor) {
  const Tiling t = tiling(rows, columns, tile);
  Array amax(t.down() * t.across());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      double& largest = amax[t.tile(r, c)];
      if (std::isfinite(src[r * columns + c])) largest = std::max(largest, std::fabs(src[r * columns + c]));
    }
  Quantized out;
  for (double a : amax) out.scale.push_back(scale_of(a, amax_floor, scale_rounding));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {  // the real quotient: a double tells any two of these from a tie
      const double value = src[r * columns + c];
      out.dst.push_back(e4m3_from(std::isinf(value) ? NAN : value / out.scale[t.tile(r, c)]));
    }
  return out;
}

Array fp8_dequantize(const std::vector<uint8_t>& src, const Array& scale, int64_t rows, int64_t columns, int32_t tile) {
  const Tiling t = tiling(rows, columns, tile);
  Array out(src.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) out[r * columns + c] = e4m3_value(src[r * columns + c]) * scale[t.tile(r, c)];
  return out;
}

}  // namespace oracle
