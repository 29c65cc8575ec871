// SPDX-License-Identifier: Apache-2.0
// AVX2 with FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "core/types.h"

namespace mhc::cpu::MHC_TIER {

constexpr int W = 8;
constexpr int kTokens = 2, kOutputs = 6;

struct F {
  __m256 v;
};

inline F set(float s) { return {_mm256_set1_ps(s)}; }
inline F zero() { return {_mm256_setzero_ps()}; }
inline __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline __m256 widen(__m128i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); }
// Rounded to bf16, in the upper halves.
inline __m256i rounded_bits(__m256 v) {
  __m256i bits = _mm256_castps_si256(v);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
  __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}
inline __m128i narrow(__m256 v) {
  __m256i top = _mm256_srli_epi32(rounded_bits(v), 16);
  __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(top, top), 0x08);
  return _mm256_castsi256_si128(packed);
}
inline __m128i half_bits(F a) { return _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// The first n of eight 16-bit elements; the rest zero.
template <class T>
inline __m128i load_bits(const T* p, int n) {
  alignas(16) uint16_t bits[8] = {};
  std::memcpy(bits, p, static_cast<size_t>(n) * 2);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bits));
}
template <class T>
inline void store_bits(T* p, __m128i v, int n) {
  alignas(16) uint16_t bits[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(bits), v);
  std::memcpy(p, bits, static_cast<size_t>(n) * 2);
}

inline F load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline F load(const float* p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
inline F load(const bf16* p) { return {widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline F load(const bf16* p, int n) { return {widen(load_bits(p, n))}; }
inline F load(const f16* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline F load(const f16* p, int n) { return {_mm256_cvtph_ps(load_bits(p, n))}; }

inline void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
inline void store(float* p, F a, int n) { _mm256_maskstore_ps(p, first(n), a.v); }
inline void store(bf16* p, F a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(a.v)); }
inline void store(bf16* p, F a, int n) { store_bits(p, narrow(a.v), n); }
inline void store(f16* p, F a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half_bits(a)); }
inline void store(f16* p, F a, int n) { store_bits(p, half_bits(a), n); }

// Falls back to a store where p is not aligned.
inline void stream(float* p, F a) {
  if (reinterpret_cast<uintptr_t>(p) % 32 == 0) {
    _mm256_stream_ps(p, a.v);
  } else {
    store(p, a);
  }
}
inline void stream_bits(void* p, __m128i v) {
  if (reinterpret_cast<uintptr_t>(p) % 16 == 0) {
    _mm_stream_si128(static_cast<__m128i*>(p), v);
  } else {
    _mm_storeu_si128(static_cast<__m128i*>(p), v);
  }
}
inline void stream(bf16* p, F a) { stream_bits(p, narrow(a.v)); }
inline void stream(f16* p, F a) { stream_bits(p, half_bits(a)); }
inline void stream_fence() { _mm_sfence(); }
__attribute__((always_inline)) inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
inline F kept(F a) {
  asm("" : "+x"(a.v));
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

inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F max(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F abs(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F sqrt(F a) { return {_mm256_sqrt_ps(a.v)}; }
inline F round_even(F a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline F scale2(F a, F k) {
  __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(k.v), _mm256_set1_epi32(127));
  F power{_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
  F product = a * power;
  return {_mm256_blendv_ps(product.v, k.v, _mm256_cmp_ps(k.v, k.v, _CMP_UNORD_Q))};
}
inline F select_less(F a, F b, F yes, F no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
inline void transpose(F* x) {
  __m256 s[W];
  for (int i = 0; i < W; i += 4) {  // 4 x 4 within halves
    __m256 ab0 = _mm256_unpacklo_ps(x[i].v, x[i + 1].v), ab1 = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
    __m256 cd0 = _mm256_unpacklo_ps(x[i + 2].v, x[i + 3].v), cd1 = _mm256_unpackhi_ps(x[i + 2].v, x[i + 3].v);
    s[i] = _mm256_shuffle_ps(ab0, cd0, 0x44);
    s[i + 1] = _mm256_shuffle_ps(ab0, cd0, 0xee);
    s[i + 2] = _mm256_shuffle_ps(ab1, cd1, 0x44);
    s[i + 3] = _mm256_shuffle_ps(ab1, cd1, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // the halves
    x[i].v = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
    x[i + 4].v = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
  }
}
inline float sum(F a) {
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
inline float max_of(F a) {
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

inline F from_e4m3(uint64_t bytes) {
  __m256i bits = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes)));
  __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f));
  __m256i normal = _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20), _mm256_set1_epi32(120 << 23));
  __m256 subnormal = _mm256_mul_ps(_mm256_cvtepi32_ps(magnitude), _mm256_set1_ps(0x1p-9f));
  __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude);
  __m256i nan = _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7f));
  __m256i value = _mm256_blendv_epi8(normal, _mm256_castps_si256(subnormal), small);
  value = _mm256_or_si256(value, _mm256_slli_epi32(_mm256_xor_si256(bits, magnitude), 24));
  return {_mm256_castsi256_ps(_mm256_blendv_epi8(value, _mm256_set1_epi32(0x7fc00000), nan))};
}
inline F load(const e4m3* p, int n) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, p, static_cast<size_t>(n));
  return from_e4m3(bytes);
}
inline F load(const e4m3* p) { return load(p, 8); }

inline uint64_t to_e4m3(F a, F b, F inverse) {
  F dividend = abs(a), quotient = dividend * inverse;
  quotient = fma(fma(zero() - quotient, b, dividend), inverse, quotient);
  F rest = fma(zero() - quotient, b, dividend);
  // Rounded to odd, so that the rounding below is the only one. Comparisons give 0 or -1.
  __m256i bits = _mm256_castps_si256(quotient.v), one = _mm256_set1_epi32(1);
  __m256i less = _mm256_castps_si256(_mm256_cmp_ps(rest.v, _mm256_setzero_ps(), _CMP_LT_OQ));
  __m256i more = _mm256_castps_si256(_mm256_cmp_ps(rest.v, _mm256_setzero_ps(), _CMP_GT_OQ));
  bits = _mm256_or_si256(_mm256_add_epi32(bits, less), _mm256_and_si256(_mm256_or_si256(less, more), one));

  __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 20), one);
  __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, even), _mm256_set1_epi32(0x7ffff - (120 << 23)));
  __m256i normal = _mm256_srli_epi32(up, 20);
  __m256i shifted = _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p14f)));
  __m256i subnormal = _mm256_and_si256(shifted, _mm256_set1_epi32(0xf));  // 2^14 rounds at 2^-9
  __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32((127 - 6) << 23), bits);
  __m256i none = _mm256_castps_si256(_mm256_cmp_ps(quotient.v, quotient.v, _CMP_UNORD_Q));
  __m256i result = _mm256_blendv_epi8(normal, subnormal, small);
  __m256i sign = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(a.v), 24), _mm256_set1_epi32(0x80));
  result = _mm256_blendv_epi8(_mm256_or_si256(result, sign), _mm256_set1_epi32(0x7f), none);
  __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_packus_epi16(words, words)));
}
inline void store_quotient(e4m3* p, F a, F b, F inverse, int n) {
  uint64_t bytes = to_e4m3(a, b, inverse);
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}
inline void store_quotient(e4m3* p, F a, F b, F inverse) { store_quotient(p, a, b, inverse, 8); }

template <class T>
struct Packed {
  __m128i v;
};
template <>
struct Packed<float> {
  __m256 v;
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
inline F unpack(Packed<f16> a) { return {_mm256_cvtph_ps(a.v)}; }
inline Packed<float> load_packed(const float* p) { return {_mm256_loadu_ps(p)}; }
template <class T>
inline Packed<T> load_packed(const T* p) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
}
inline void store(float* p, Packed<float> a) { _mm256_storeu_ps(p, a.v); }
inline void stream(float* p, Packed<float> a) { stream(p, F{a.v}); }
template <class T>
inline void store(T* p, Packed<T> a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a.v);
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
