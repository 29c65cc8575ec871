// SPDX-License-Identifier: Apache-2.0
// AArch64 Advanced SIMD.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "core/types.h"

namespace mhc::cpu::MHC_TIER {

constexpr int W = 4;
constexpr int kTokens = 4, kOutputs = 5;

struct F {
  float32x4_t v;
};

inline F set(float s) { return {vdupq_n_f32(s)}; }
inline F zero() { return set(0.0f); }

inline float32x4_t widen(uint16x4_t bits) { return vreinterpretq_f32_u32(vshll_n_u16(bits, 16)); }
inline uint16x4_t narrow(float32x4_t v) {
  uint32x4_t bits = vreinterpretq_u32_f32(v);
  uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  uint32x4_t up = vaddq_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7fff));
  uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), up, quiet), 16);
}
inline uint16x4_t half_bits(float32x4_t v) { return vreinterpret_u16_f16(vcvt_f16_f32(v)); }
inline float32x4_t from_half(uint16x4_t bits) { return vcvt_f32_f16(vreinterpret_f16_u16(bits)); }

template <class T>
inline uint16x4_t load_bits(const T* p, int n) {
  uint16_t bits[4] = {};
  std::memcpy(bits, p, static_cast<size_t>(n) * 2);
  return vld1_u16(bits);
}
template <class T>
inline void store_bits(T* p, uint16x4_t v, int n) {
  uint16_t bits[4];
  vst1_u16(bits, v);
  std::memcpy(p, bits, static_cast<size_t>(n) * 2);
}

inline F load(const float* p) { return {vld1q_f32(p)}; }
inline F load(const float* p, int n) {
  float values[4] = {};
  std::memcpy(values, p, static_cast<size_t>(n) * 4);
  return {vld1q_f32(values)};
}
inline F load(const bf16* p) { return {widen(vld1_u16(&p->bits))}; }
inline F load(const bf16* p, int n) { return {widen(load_bits(p, n))}; }
inline F load(const f16* p) { return {from_half(vld1_u16(&p->bits))}; }
inline F load(const f16* p, int n) { return {from_half(load_bits(p, n))}; }

inline void store(float* p, F a) { vst1q_f32(p, a.v); }
inline void store(float* p, F a, int n) {
  float values[4];
  vst1q_f32(values, a.v);
  std::memcpy(p, values, static_cast<size_t>(n) * 4);
}
inline void store(bf16* p, F a) { vst1_u16(&p->bits, narrow(a.v)); }
inline void store(bf16* p, F a, int n) { store_bits(p, narrow(a.v), n); }
inline void store(f16* p, F a) { vst1_u16(&p->bits, half_bits(a.v)); }
inline void store(f16* p, F a, int n) { store_bits(p, half_bits(a.v), n); }
template <class T>
inline void stream(T* p, F a) {
  store(p, a);
}
inline void stream_fence() {}
__attribute__((always_inline)) inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }
inline F kept(F a) {
  asm("" : "+w"(a.v));
  return a;
}
template <class T>
inline void copy(const T* p, T* to) {
  std::memcpy(to, p, W * sizeof(T));
}
template <class T>
inline void copy(const T* p, T* to, int n) {
  std::memset(to, 0, W * sizeof(T));
  std::memcpy(to, p, static_cast<size_t>(n) * sizeof(T));
}
template <class T>
inline T load1(const T* p) {
  return *p;
}
template <class T>
inline void store1(T* p, T s) {
  *p = s;
}

inline F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
inline F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
inline F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
inline F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline F select_less(F a, F b, F yes, F no) { return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)}; }
inline F min(F a, F b) { return select_less(a, b, a, b); }
inline F max(F a, F b) { return select_less(b, a, a, b); }
inline F abs(F a) { return {vabsq_f32(a.v)}; }
inline F sqrt(F a) { return {vsqrtq_f32(a.v)}; }
inline F round_even(F a) { return {vrndnq_f32(a.v)}; }
inline F scale2(F a, F k) {
  int32x4_t biased = vaddq_s32(vcvtq_s32_f32(k.v), vdupq_n_s32(127));
  F product = a * F{vreinterpretq_f32_s32(vshlq_n_s32(biased, 23))};
  return {vbslq_f32(vceqq_f32(k.v, k.v), product.v, k.v)};
}
inline void transpose(F* x) {
  float32x4x2_t ab = vtrnq_f32(x[0].v, x[1].v), cd = vtrnq_f32(x[2].v, x[3].v);
  x[0].v = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
  x[1].v = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
  x[2].v = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
  x[3].v = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}
inline float sum(F a) {
  float32x2_t pair = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}
inline float max_of(F a) { return vmaxvq_f32(a.v); }

inline F load(const e4m3* p, int n) {
  uint32_t bytes = 0;
  std::memcpy(&bytes, p, static_cast<size_t>(n));
  uint32x4_t bits = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes))));
  uint32x4_t magnitude = vandq_u32(bits, vdupq_n_u32(0x7f));
  uint32x4_t normal = vaddq_u32(vshlq_n_u32(magnitude, 20), vdupq_n_u32(120u << 23));
  float32x4_t subnormal = vmulq_f32(vcvtq_f32_u32(magnitude), vdupq_n_f32(0x1p-9f));
  uint32x4_t value = vbslq_u32(vcltq_u32(magnitude, vdupq_n_u32(8)), vreinterpretq_u32_f32(subnormal), normal);
  value = vorrq_u32(value, vshlq_n_u32(veorq_u32(bits, magnitude), 24));
  uint32x4_t nan = vceqq_u32(magnitude, vdupq_n_u32(0x7f));
  return {vreinterpretq_f32_u32(vbslq_u32(nan, vdupq_n_u32(0x7fc00000), value))};
}
inline F load(const e4m3* p) { return load(p, 4); }

inline void store_quotient(e4m3* p, F a, F b, F inverse, int n) {
  F dividend = abs(a), quotient = dividend * inverse;
  quotient = fma(fma(zero() - quotient, b, dividend), inverse, quotient);
  F rest = fma(zero() - quotient, b, dividend);
  // Rounded to odd, so that the rounding below is the only one. Comparisons give 0 or -1.
  uint32x4_t bits = vreinterpretq_u32_f32(quotient.v), one = vdupq_n_u32(1);
  uint32x4_t less = vcltq_f32(rest.v, vdupq_n_f32(0)), more = vcgtq_f32(rest.v, vdupq_n_f32(0));
  bits = vorrq_u32(vaddq_u32(bits, less), vandq_u32(vorrq_u32(less, more), one));

  uint32x4_t even = vandq_u32(vshrq_n_u32(bits, 20), one);
  uint32x4_t up = vsubq_u32(vaddq_u32(vaddq_u32(bits, even), vdupq_n_u32(0x7ffff)), vdupq_n_u32(120u << 23));
  uint32x4_t normal = vshrq_n_u32(up, 20);
  uint32x4_t shifted = vreinterpretq_u32_f32(vaddq_f32(vreinterpretq_f32_u32(bits), vdupq_n_f32(0x1p14f)));
  uint32x4_t subnormal = vandq_u32(shifted, vdupq_n_u32(0xf));  // 2^14 rounds at 2^-9
  uint32x4_t result = vbslq_u32(vcltq_u32(bits, vdupq_n_u32((127 - 6) << 23)), subnormal, normal);
  uint32x4_t sign = vandq_u32(vshrq_n_u32(vreinterpretq_u32_f32(a.v), 24), vdupq_n_u32(0x80));
  result = vbslq_u32(vceqq_f32(quotient.v, quotient.v), vorrq_u32(result, sign), vdupq_n_u32(0x7f));
  uint16x4_t words = vmovn_u32(result);
  uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}
inline void store_quotient(e4m3* p, F a, F b, F inverse) { store_quotient(p, a, b, inverse, 4); }

template <class T>
struct Packed {
  uint16x4_t v;
};
template <>
struct Packed<float> {
  float32x4_t v;
};
template <class T>
inline Packed<T> pack(F a);
template <>
inline Packed<float> pack<float>(F a) {
  return {a.v};
}
template <>
inline Packed<bf16> pack<bf16>(F a) {
  return {narrow(a.v)};
}
template <>
inline Packed<f16> pack<f16>(F a) {
  return {half_bits(a.v)};
}
inline F unpack(Packed<float> a) { return {a.v}; }
inline F unpack(Packed<bf16> a) { return {widen(a.v)}; }
inline F unpack(Packed<f16> a) { return {from_half(a.v)}; }
inline Packed<float> load_packed(const float* p) { return {vld1q_f32(p)}; }
template <class T>
inline Packed<T> load_packed(const T* p) {
  return {vld1_u16(&p->bits)};
}
inline void store(float* p, Packed<float> a) { vst1q_f32(p, a.v); }
template <class T>
inline void store(T* p, Packed<T> a) {
  vst1_u16(&p->bits, a.v);
}
template <class T>
inline void stream(T* p, Packed<T> a) {
  store(p, a);
}

template <class T>
inline F rounded(F a) {
  return unpack(pack<T>(a));
}

}  // namespace mhc::cpu::MHC_TIER
