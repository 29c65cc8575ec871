// SPDX-License-Identifier: Apache-2.0
// AVX-512 F, BW, DQ, VL; with MHC_TIER_AVX512_BF16 the conversion instruction too.
#pragma once

#include <immintrin.h>

#include "core/types.h"

namespace mhc::cpu::MHC_TIER {

constexpr int W = 16;
constexpr int kTokens = 4, kOutputs = 6;

struct F {
  __m512 v;
};

inline F set(float s) { return {_mm512_set1_ps(s)}; }
inline F zero() { return {_mm512_setzero_ps()}; }
inline __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

inline __m512 widen(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
// Rounded to bf16, in the upper halves.
inline __m512i rounded_bits(__m512 v) {
  __m512i bits = _mm512_castps_si512(v);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
  __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
}
inline __m256i narrow(__m512 v) {
#if defined(MHC_TIER_AVX512_BF16)
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
#else
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded_bits(v), 16));
#endif
}

inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline F load(const bf16* p) { return {widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
inline F load(const bf16* p, int n) { return {widen(_mm256_maskz_loadu_epi16(first(n), p))}; }
inline F load(const f16* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
inline F load(const f16* p, int n) { return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p))}; }

inline __m256i half_bits(F a) { return _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline void store(float* p, F a, int n) { _mm512_mask_storeu_ps(p, first(n), a.v); }
inline void store(bf16* p, F a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a.v)); }
inline void store(bf16* p, F a, int n) { _mm256_mask_storeu_epi16(p, first(n), narrow(a.v)); }
inline void store(f16* p, F a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half_bits(a)); }
inline void store(f16* p, F a, int n) { _mm256_mask_storeu_epi16(p, first(n), half_bits(a)); }

// Falls back to a store where p is not aligned.
inline void stream(float* p, F a) {
  if (reinterpret_cast<uintptr_t>(p) % 64 == 0) {
    _mm512_stream_ps(p, a.v);
  } else {
    store(p, a);
  }
}
inline void stream_bits(void* p, __m256i v) {
  if (reinterpret_cast<uintptr_t>(p) % 32 == 0) {
    _mm256_stream_si256(static_cast<__m256i*>(p), v);
  } else {
    _mm256_storeu_si256(static_cast<__m256i*>(p), v);
  }
}
inline void stream(bf16* p, F a) { stream_bits(p, narrow(a.v)); }
inline void stream(f16* p, F a) { stream_bits(p, half_bits(a)); }
inline void stream_fence() { _mm_sfence(); }
__attribute__((always_inline)) inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
inline F kept(F a) {
  asm("" : "+v"(a.v));
  return a;
}
template <class T>
inline void copy(const T* p, T* to) {
  if constexpr (sizeof(T) == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  } else {
    _mm512_storeu_si512(to, _mm512_loadu_si512(p));
  }
}
template <class T>
inline void copy(const T* p, T* to, int n) {
  if constexpr (sizeof(T) == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi16(first(n), p));
  } else {
    _mm512_storeu_si512(to, _mm512_maskz_loadu_epi32(first(n), p));
  }
}
template <class T>
inline T load1(const T* p) {
  return *p;
}
template <class T>
inline void store1(T* p, T s) {
  *p = s;
}

inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F abs(F a) { return {_mm512_abs_ps(a.v)}; }
inline F sqrt(F a) { return {_mm512_sqrt_ps(a.v)}; }
inline F round_even(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT)}; }
inline F scale2(F a, F k) { return {_mm512_scalef_ps(a.v, k.v)}; }
inline F select_less(F a, F b, F yes, F no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
inline void transpose(F* x) {
  __m512 s[W];
  for (int i = 0; i < W; i += 4) {  // 4 x 4 within quarters
    __m512d ab0 = _mm512_castps_pd(_mm512_unpacklo_ps(x[i].v, x[i + 1].v));
    __m512d ab1 = _mm512_castps_pd(_mm512_unpackhi_ps(x[i].v, x[i + 1].v));
    __m512d cd0 = _mm512_castps_pd(_mm512_unpacklo_ps(x[i + 2].v, x[i + 3].v));
    __m512d cd1 = _mm512_castps_pd(_mm512_unpackhi_ps(x[i + 2].v, x[i + 3].v));
    s[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab0, cd0));
    s[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab0, cd0));
    s[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab1, cd1));
    s[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab1, cd1));
  }
  for (int i = 0; i < 4; ++i) {  // the quarters
    __m512 ab0 = _mm512_shuffle_f32x4(s[i], s[i + 4], 0x88), ab1 = _mm512_shuffle_f32x4(s[i], s[i + 4], 0xdd);
    __m512 cd0 = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0x88), cd1 = _mm512_shuffle_f32x4(s[i + 8], s[i + 12], 0xdd);
    x[i].v = _mm512_shuffle_f32x4(ab0, cd0, 0x88);
    x[i + 4].v = _mm512_shuffle_f32x4(ab1, cd1, 0x88);
    x[i + 8].v = _mm512_shuffle_f32x4(ab0, cd0, 0xdd);
    x[i + 12].v = _mm512_shuffle_f32x4(ab1, cd1, 0xdd);
  }
}
inline float sum(F a) {
  __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
inline float max_of(F a) {
  __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

inline F from_e4m3(__m128i bytes) {
  __m512i bits = _mm512_cvtepu8_epi32(bytes), magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7f));
  __m512i normal = _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32(120 << 23));
  __m512 subnormal = _mm512_mul_ps(_mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(0x1p-9f));
  __mmask16 small = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(8));
  __mmask16 nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7f));
  __m512i value = _mm512_mask_mov_epi32(normal, small, _mm512_castps_si512(subnormal));
  value = _mm512_or_si512(value, _mm512_slli_epi32(_mm512_xor_si512(bits, magnitude), 24));
  return {_mm512_castsi512_ps(_mm512_mask_mov_epi32(value, nan, _mm512_set1_epi32(0x7fc00000)))};
}
inline F load(const e4m3* p) { return from_e4m3(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline F load(const e4m3* p, int n) { return from_e4m3(_mm_maskz_loadu_epi8(first(n), p)); }

inline __m128i to_e4m3(F a, F b, F inverse) {
  F dividend = abs(a), quotient = dividend * inverse;
  quotient = fma(fma(zero() - quotient, b, dividend), inverse, quotient);
  F rest = fma(zero() - quotient, b, dividend);
  // Rounded to odd, so that the rounding below is the only one.
  __m512i bits = _mm512_castps_si512(quotient.v), one = _mm512_set1_epi32(1);
  __mmask16 less = _mm512_cmp_ps_mask(rest.v, _mm512_setzero_ps(), _CMP_LT_OQ);
  __mmask16 more = _mm512_cmp_ps_mask(rest.v, _mm512_setzero_ps(), _CMP_GT_OQ);
  bits = _mm512_mask_sub_epi32(bits, less, bits, one);
  bits = _mm512_mask_or_epi32(bits, static_cast<__mmask16>(less | more), bits, one);

  __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 20), one);
  __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, even), _mm512_set1_epi32(0x7ffff - (120 << 23)));
  __m512i normal = _mm512_srli_epi32(up, 20);
  __m512i shifted = _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p14f)));
  __m512i subnormal = _mm512_and_si512(shifted, _mm512_set1_epi32(0xf));  // 2^14 rounds at 2^-9
  __mmask16 small = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32((127 - 6) << 23));
  __mmask16 none = _mm512_cmp_ps_mask(quotient.v, quotient.v, _CMP_UNORD_Q);
  __m512i result = _mm512_mask_mov_epi32(normal, small, subnormal);
  __m512i sign = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(a.v), 24), _mm512_set1_epi32(0x80));
  result = _mm512_mask_mov_epi32(_mm512_or_si512(result, sign), none, _mm512_set1_epi32(0x7f));
  return _mm512_cvtepi32_epi8(result);
}
inline void store_quotient(e4m3* p, F a, F b, F inverse) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_e4m3(a, b, inverse));
}
inline void store_quotient(e4m3* p, F a, F b, F inverse, int n) {
  _mm_mask_storeu_epi8(p, first(n), to_e4m3(a, b, inverse));
}

template <class T>
struct Packed {
  __m256i v;
};
template <>
struct Packed<float> {
  __m512 v;
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
  return {half_bits(a)};
}
inline F unpack(Packed<float> a) { return {a.v}; }
inline F unpack(Packed<bf16> a) { return {widen(a.v)}; }
inline F unpack(Packed<f16> a) { return {_mm512_cvtph_ps(a.v)}; }
inline Packed<float> load_packed(const float* p) { return {_mm512_loadu_ps(p)}; }
template <class T>
inline Packed<T> load_packed(const T* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void store(float* p, Packed<float> a) { _mm512_storeu_ps(p, a.v); }
inline void stream(float* p, Packed<float> a) { stream(p, F{a.v}); }
template <class T>
inline void store(T* p, Packed<T> a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
template <class T>
inline void stream(T* p, Packed<T> a) {
  stream_bits(p, a.v);
}

template <class T>
inline F rounded(F a) {
  return unpack(pack<T>(a));
}

}  // namespace mhc::cpu::MHC_TIER
