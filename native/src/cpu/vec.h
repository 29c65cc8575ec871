// SPDX-License-Identifier: Apache-2.0
// The vector language that every CPU kernel is written in. A kernel source is compiled once a tier, with
// MHC_TIER naming it; each tier has the same words:
//
//   F                      W floats
//   zero() set(s)          the same value in every lane
//   load(p) load(p, n)     W elements of float, bf16 or f16; or the first n < W and zeros, reading nothing behind them
//   store(p, v) store(p, v, n)
//   stream(p, v)           store past the caches, for what is not read again soon; stream_fence() before others read it
//   prefetch(p)            brings the line of p to the second-level cache; inlined always, since GCC takes a function that
//                          does nothing else for one without effect and drops its calls
//   kept(v)                v, loaded into a register once: GCC may load it again for each multiply-add it meets, and then the
//                          loads bound a product
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

}  // namespace mhc::cpu::MHC_TIER

#include "lanes/elementary.h"
