// SPDX-License-Identifier: Apache-2.0
// Two vectors at a time: 2 W channels of rows of X and of what is computed with them. For bf16 on x86 the even channels come
// first and then the odd ones, since a word of 32 bits holds one of each: a shift or a mask makes a float of it, in place of the
// shuffle and the shift of load(). All else is in order.
//
//   Pair                       two vectors
//   Pairs<X>::load(p)          2 W elements of any type, in X's order
//   Pairs<X>::Packed           2 W elements of X as they are stored, in memory's order
//   Pairs<X>::store(p, pair) stream(p, pair)   of any type that goes with X
//   Pairs<X>::load_packed(p) store(p, packed) stream(p, packed) pack(pair) unpack(packed)
#pragma once

#include "cpu/vec.h"

namespace mhc::cpu::MHC_TIER {

struct Pair {
  F first, second;
};

// The lines of 2 W elements, near enough: one where they fit it.
template <class T>
inline void prefetch_pair(const T* p) {
  prefetch(p);
  if constexpr (2 * W * sizeof(T) > 64) prefetch(p + W);
}

template <class X>
struct Pairs {
  struct Packed {
    MHC_TIER::Packed<X> first, second;
  };

  template <class T>
  static Pair load(const T* p) {
    return {MHC_TIER::load(p), MHC_TIER::load(p + W)};
  }
  template <class T>
  static void store(T* p, Pair a) {
    MHC_TIER::store(p, a.first);
    MHC_TIER::store(p + W, a.second);
  }
  template <class T>
  static void stream(T* p, Pair a) {
    MHC_TIER::stream(p, a.first);
    MHC_TIER::stream(p + W, a.second);
  }
  static Packed load_packed(const X* p) { return {MHC_TIER::load_packed(p), MHC_TIER::load_packed(p + W)}; }
  static Packed pack(Pair a) { return {MHC_TIER::pack<X>(a.first), MHC_TIER::pack<X>(a.second)}; }
  static Pair unpack(Packed a) { return {MHC_TIER::unpack(a.first), MHC_TIER::unpack(a.second)}; }
  static void store(X* p, Packed a) {
    MHC_TIER::store(p, a.first);
    MHC_TIER::store(p + W, a.second);
  }
  static void stream(X* p, Packed a) {
    MHC_TIER::stream(p, a.first);
    MHC_TIER::stream(p + W, a.second);
  }
};

#if defined(MHC_TIER_AVX512) || defined(MHC_TIER_AVX512_BF16)

template <>
struct Pairs<bf16> {
  struct Packed {
    __m512i v;
  };

  static Pair load(const bf16* p) { return unpack(load_packed(p)); }
  static Pair load(const float* p) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512 low = _mm512_loadu_ps(p), high = _mm512_loadu_ps(p + W);
    return {{_mm512_permutex2var_ps(low, even, high)},
            {_mm512_permutex2var_ps(low, _mm512_or_si512(even, _mm512_set1_epi32(1)), high)}};
  }
  static void store(bf16* p, Pair a) { store(p, pack(a)); }
  static void stream(bf16* p, Pair a) { stream(p, pack(a)); }
  static Packed load_packed(const bf16* p) { return {_mm512_loadu_si512(p)}; }
  static Packed pack(Pair a) {
#if defined(MHC_TIER_AVX512_BF16)
    const __m512i halves = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                            20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return {_mm512_permutexvar_epi16(halves, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(a.second.v, a.first.v)))};
#else
    return {_mm512_or_si512(_mm512_srli_epi32(rounded_bits(a.first.v), 16), odd(rounded_bits(a.second.v)))};
#endif
  }
  static Pair unpack(Packed a) { return {{_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))}, {_mm512_castsi512_ps(odd(a.v))}}; }
  static void store(bf16* p, Packed a) { _mm512_storeu_si512(p, a.v); }
  static void stream(bf16* p, Packed a) {
    if (reinterpret_cast<uintptr_t>(p) % 64 == 0) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(p), a.v);
    } else {
      stream_bits(p, _mm512_castsi512_si256(a.v));
      stream_bits(p + W, _mm512_extracti64x4_epi64(a.v, 1));
    }
  }

 private:
  static __m512i odd(__m512i bits) { return _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000))); }
};

#elif defined(MHC_TIER_AVX2)

template <>
struct Pairs<bf16> {
  struct Packed {
    __m256i v;
  };

  static Pair load(const bf16* p) { return unpack(load_packed(p)); }
  static Pair load(const float* p) {
    const __m256 low = _mm256_loadu_ps(p), high = _mm256_loadu_ps(p + W);
    return {{in_order(_mm256_shuffle_ps(low, high, 0x88))}, {in_order(_mm256_shuffle_ps(low, high, 0xdd))}};
  }
  static void store(bf16* p, Pair a) { store(p, pack(a)); }
  static void stream(bf16* p, Pair a) { stream(p, pack(a)); }
  static Packed load_packed(const bf16* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Packed pack(Pair a) {
    return {_mm256_or_si256(_mm256_srli_epi32(rounded_bits(a.first.v), 16), odd(rounded_bits(a.second.v)))};
  }
  static Pair unpack(Packed a) { return {{_mm256_castsi256_ps(_mm256_slli_epi32(a.v, 16))}, {_mm256_castsi256_ps(odd(a.v))}}; }
  static void store(bf16* p, Packed a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
  static void stream(bf16* p, Packed a) {
    if (reinterpret_cast<uintptr_t>(p) % 32 == 0) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(p), a.v);
    } else {
      store(p, a);
    }
  }

 private:
  static __m256i odd(__m256i bits) { return _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000))); }
  // The quarters 0 2 1 3.
  static __m256 in_order(__m256 v) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
  }
};

#endif

}  // namespace mhc::cpu::MHC_TIER
