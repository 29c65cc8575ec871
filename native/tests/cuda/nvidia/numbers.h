// SPDX-License-Identifier: Apache-2.0
// Elements of the types that NVIDIA's libraries are called with, one at a time.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace nvidia {

enum class Type { fp32, fp16, bf16, e4m3, int32, uint8 };

inline size_t bytes_of(Type type) {
  return type == Type::fp32 || type == Type::int32 ? 4 : type == Type::fp16 || type == Type::bf16 ? 2 : 1;
}

// A number of few bits: exponent and mantissa bits, and the exponent's bias.
struct Format {
  int exponent_bits, mantissa_bits, bias;
};
constexpr Format kFp16 = {5, 10, 15}, kBf16 = {8, 7, 127}, kE4m3 = {4, 3, 7};

inline double decode(const Format& f, unsigned bits) {
  const unsigned mantissa = bits & ((1u << f.mantissa_bits) - 1), top = (1u << f.exponent_bits) - 1;
  const unsigned exponent = bits >> f.mantissa_bits & top;
  const double sign = bits >> (f.exponent_bits + f.mantissa_bits) & 1 ? -1 : 1;
  const bool e4m3 = f.mantissa_bits == kE4m3.mantissa_bits;  // has no infinity, and one NaN
  if (e4m3 ? (bits & 0x7f) == 0x7f : exponent == top && mantissa) return NAN;
  if (!e4m3 && exponent == top) return sign * INFINITY;
  const double value = exponent == 0 ? std::ldexp(mantissa, 1 - f.bias - f.mantissa_bits)
                                     : std::ldexp((1u << f.mantissa_bits) + mantissa, static_cast<int>(exponent) - f.bias - f.mantissa_bits);
  return sign * value;
}

// Rounds to nearest, ties to even.
inline unsigned encode(const Format& f, double value) {
  const bool e4m3 = f.mantissa_bits == kE4m3.mantissa_bits;
  const unsigned sign = std::signbit(value) ? 1u << (f.exponent_bits + f.mantissa_bits) : 0, top = (1u << f.exponent_bits) - 1;
  if (std::isnan(value)) return sign | top << f.mantissa_bits | ((1u << f.mantissa_bits) - 1);
  const double size = std::fabs(value);
  int exponent = size == 0 ? 1 - f.bias : std::ilogb(size);
  if (exponent < 1 - f.bias) exponent = 1 - f.bias;
  const double scaled = std::isinf(size) ? size : std::nearbyint(std::ldexp(size, f.mantissa_bits - exponent));
  const double rounded = std::ldexp(scaled, exponent - f.mantissa_bits);
  const double largest = e4m3 ? 448 : std::ldexp(2 - std::ldexp(1, -f.mantissa_bits), static_cast<int>(top) - 1 - f.bias);
  if (rounded > largest) return e4m3 ? sign | 0x7e : sign | top << f.mantissa_bits;
  unsigned whole = static_cast<unsigned>(scaled);
  if (whole >= 2u << f.mantissa_bits) whole >>= 1, ++exponent;
  const unsigned biased = whole >= 1u << f.mantissa_bits ? static_cast<unsigned>(exponent + f.bias) : 0;
  return sign | biased << f.mantissa_bits | (whole & ((1u << f.mantissa_bits) - 1));
}

inline double load(Type type, const void* base, int64_t index) {
  const char* at = static_cast<const char*>(base) + index * static_cast<int64_t>(bytes_of(type));
  float single;
  int32_t whole;
  uint16_t half;
  switch (type) {
    case Type::fp32: return std::memcpy(&single, at, 4), single;
    case Type::int32: return std::memcpy(&whole, at, 4), whole;
    case Type::fp16: return std::memcpy(&half, at, 2), decode(kFp16, half);
    case Type::bf16: return std::memcpy(&half, at, 2), decode(kBf16, half);
    case Type::e4m3: return decode(kE4m3, static_cast<uint8_t>(*at));
    case Type::uint8: return static_cast<uint8_t>(*at);
  }
  return NAN;
}

inline void store(Type type, void* base, int64_t index, double value) {
  char* at = static_cast<char*>(base) + index * static_cast<int64_t>(bytes_of(type));
  const float single = static_cast<float>(value);
  const auto whole = static_cast<int32_t>(type == Type::int32 ? value : 0);
  const auto half = static_cast<uint16_t>(type == Type::fp16 ? encode(kFp16, value) : type == Type::bf16 ? encode(kBf16, value) : 0);
  switch (type) {
    case Type::fp32: std::memcpy(at, &single, 4); break;
    case Type::int32: std::memcpy(at, &whole, 4); break;
    case Type::fp16:
    case Type::bf16: std::memcpy(at, &half, 2); break;
    case Type::e4m3: *at = static_cast<char>(encode(kE4m3, value)); break;
    case Type::uint8: *at = static_cast<char>(value); break;
  }
}

}  // namespace nvidia
