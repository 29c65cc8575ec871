// SPDX-License-Identifier: Apache-2.0
// Storage types as plain bits, and their scalar conversions. Rounding is to nearest, ties to even, everywhere.
#pragma once

#include <cstdint>
#include <cstring>

#include "lanes/macros.h"

namespace mhc {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};
struct e4m3 {
  uint8_t bits;
};

enum class DType : uint8_t { F32, F16, BF16, E4M3, E8M0, I32 };

MHC_HOST_DEVICE inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MHC_HOST_DEVICE inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float to_float(float value) { return value; }

inline float to_float(bf16 value) { return float_of_bits(uint32_t{value.bits} << 16); }

inline float to_float(f16 value) {
  uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  uint32_t exponent = (value.bits >> 10) & 31u, mantissa = value.bits & 1023u;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return float_of_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

inline void from_float(float value, float& out) { out = value; }

inline void from_float(float value, bf16& out) {
  uint32_t bits = bits_of_float(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    out.bits = static_cast<uint16_t>((bits >> 16) | 0x40u);  // a quiet NaN stays one
    return;
  }
  out.bits = static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline void from_float(float value, f16& out) {
  uint32_t bits = bits_of_float(value);
  uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    out.bits = static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  } else if (magnitude >= 0x477ff000u) {  // 65520 and up round to infinity
    out.bits = static_cast<uint16_t>(sign | 0x7c00u);
  } else if (magnitude < 0x38800000u) {  // below 2^-14 the result is subnormal: adding 0.5 rounds at 2^-24
    uint32_t shifted = bits_of_float(float_of_bits(magnitude) + 0.5f);
    out.bits = static_cast<uint16_t>(sign | (shifted - 0x3f000000u));
  } else {
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    out.bits = static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
  }
}

MHC_HOST_DEVICE inline float to_float(e4m3 value) {
  uint32_t sign = uint32_t{value.bits & 0x80u} << 24, magnitude = value.bits & 0x7fu;
  if (magnitude == 0x7f) return float_of_bits(0x7fc00000u);
  if (magnitude >= 8) return float_of_bits(sign | ((magnitude << 20) + (120u << 23)));
  float subnormal = static_cast<float>(magnitude) * 0x1p-9f;
  return sign ? -subnormal : subnormal;
}

// A scale's exponent; 0xff is NaN.
MHC_HOST_DEVICE inline float e8m0_to_float(uint8_t exponent) {
  if (exponent == 0xff) return float_of_bits(0x7fc00000u);
  return float_of_bits(exponent == 0 ? 0x00400000u : uint32_t{exponent} << 23);
}

// a / b in one rounding, for a magnitude of at most 448; infinity and NaN become NaN, 0x7f.
MHC_HOST_DEVICE inline e4m3 e4m3_of_quotient(float a, float b) {
  // 53 bits hold the quotient apart from every midpoint of E4M3 (5 bits), whose product with b has 29.
  double quotient = static_cast<double>(a) / static_cast<double>(b);
  uint64_t bits;
  memcpy(&bits, &quotient, sizeof bits);
  uint64_t magnitude = bits & ~(uint64_t{1} << 63);
  if (magnitude >= uint64_t{0x7ff} << 52) return {0x7f};
  uint8_t sign = static_cast<uint8_t>(bits >> 56 & 0x80);
  if (magnitude < uint64_t{1023 - 6} << 52) {  // below 2^-6 the result is subnormal: adding 2^43 rounds at 2^-9
    double shifted = (quotient < 0 ? -quotient : quotient) + 0x1p43;
    memcpy(&bits, &shifted, sizeof bits);
    return {static_cast<uint8_t>(sign | (bits & 0xf))};
  }
  uint64_t rounded = magnitude + ((uint64_t{1} << 48) - 1) + (magnitude >> 49 & 1);
  return {static_cast<uint8_t>(sign | ((rounded >> 49) - ((1023 - 7) << 3)))};
}

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::F32;
};
template <>
struct dtype_of<f16> {
  static constexpr DType value = DType::F16;
};
template <>
struct dtype_of<bf16> {
  static constexpr DType value = DType::BF16;
};

}  // namespace mhc
