// SPDX-License-Identifier: Apache-2.0
// The vector language that every CPU kernel is written in. A kernel source is compiled once a tier, with
// MHC_TIER naming it; each tier has the same words:
//
//   F                      W floats
//   zero() set(s)          the same value in every lane
//   load(p) load(p, n)     W elements of float, bf16 or f16; or the first n < W and zeros, reading nothing behind them
//   store(p, v) store(p, v, n)
//   stream(p, v)           store past the caches, for what is not read again soon; stream_fence() before others read it
//   prefetch(p)            brings the line of p to the second-level cache
//   copy(p, to) copy(p, to, n)  W elements as they are; or the first n < W, and zeros behind them up to W
//   load1(p) store1(p, s)  one float, or one byte
//   load(p) store_quotient(p, a, b, 1 / b)   of e4m3, and with n as above: a / b in one rounding, |a| <= 448 b or not
//                          finite (which becomes NaN), b in [2^-62, 2^120]
//   + - * / fma(a, b, c)   a * b + c
//   min max abs sqrt round_even scale2(x, k)   x * 2^k for integral k in [-126, 127]; min and max return b if either is NaN
//   select_less(a, b, yes, no)
//   sum(v) max_of(v)       over the lanes, in a fixed order
//   transpose(x)           of W vectors: lane i of vector j goes to lane j of vector i
//   rounded<T>(v)          to storage type T and back
//   pack<T>(v)             W elements as they are stored, for store(p, packed), stream(p, packed) and unpack(packed); load_packed(p)
//   kTokens x kOutputs     accumulators that a product may keep in registers, beside its operands
//
// Loads and stores have to go through these words, so that the counting tier sees them.
#pragma once

#include <cmath>
#include <cstddef>

#include "core/types.h"

#if defined(MHC_TIER_AVX512) || defined(MHC_TIER_AVX512_BF16)
#include "cpu/vec_avx512.h"
#elif defined(MHC_TIER_AVX2)
#include "cpu/vec_avx2.h"
#elif defined(MHC_TIER_NEON)
#include "cpu/vec_neon.h"
#else
#include "cpu/vec_plain.h"
#endif

namespace mhc::cpu::MHC_TIER {

// load and store of n <= W elements, for the last step of a loop.
template <class T>
inline F load_upto(const T* p, int64_t n) {
  return n >= W ? load(p) : load(p, static_cast<int>(n));
}
template <class T>
inline void store_upto(T* p, F v, int64_t n) {
  if (n >= W) {
    store(p, v);
  } else {
    store(p, v, static_cast<int>(n));
  }
}

template <class T>
inline void copy_upto(const T* p, T* to, int64_t n) {
  if (n >= W) {
    copy(p, to);
  } else {
    copy(p, to, static_cast<int>(n));
  }
}

inline void store_quotient_upto(e4m3* p, F a, F b, F inverse, int64_t n) {
  if (n >= W) {
    store_quotient(p, a, b, inverse);
  } else {
    store_quotient(p, a, b, inverse, static_cast<int>(n));
  }
}

// e^x to 1 ulp or so; underflows gradually, overflows to infinity, keeps NaN.
inline F exp(F x) {
  x = max(set(-104.5f), min(set(89.0f), x));
  F k = round_even(x * set(1.44269504088896341f));
  F r = fma(k, set(-0.693359375f), x);
  r = fma(k, set(2.12194440e-4f), r);
  F p = set(1.9875691500e-4f);
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(p, r * r, r + set(1.0f));
  F half = round_even(k * set(0.5f));  // in two steps, so that neither 2^k over- nor underflows too early
  return scale2(scale2(p, half), k - half);
}

// By way of exp(-|x|), which does not overflow: what is far below zero underflows gradually.
inline F sigmoid(F x) {
  F t = exp(zero() - abs(x));
  return select_less(x, zero(), t, set(1.0f)) / (set(1.0f) + t);
}

// Its derivative t / (1 + t)^2 with t = exp(-|x|), without a difference that cancels; that of tanh is 4 times it at 2x.
inline F sigmoid_slope(F x) {
  F t = exp(zero() - abs(x));
  F scale = set(1.0f) / (set(1.0f) + t);
  return t * scale * scale;
}

inline F tanh(F x) {
  F z = x * x;
  F p = set(-5.70498872745e-3f);
  p = fma(p, z, set(2.06390887954e-2f));
  p = fma(p, z, set(-5.37397155531e-2f));
  p = fma(p, z, set(1.33314422036e-1f));
  p = fma(p, z, set(-3.33332819422e-1f));
  F near = fma(p * z, x, x);
  F magnitude = set(1.0f) - set(2.0f) / (exp(abs(x) * set(2.0f)) + set(1.0f));
  F far = select_less(x, zero(), zero() - magnitude, magnitude);
  return select_less(abs(x), set(0.625f), near, far);
}

}  // namespace mhc::cpu::MHC_TIER
