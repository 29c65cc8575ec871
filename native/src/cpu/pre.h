// SPDX-License-Identifier: Apache-2.0
// h = sum_i pre_mix[i] x[i], for one vector of channels. Every path that makes an h uses this, so that all give the same bits.
#pragma once

#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

// N streams (n of them where N is kAnyStreams).
template <int N>
inline F pre_value(const float* pre_mix, const F* x, int n) {
  int streams = N == kAnyStreams ? n : N;
  F sum = set(pre_mix[0]) * x[0];
  for (int i = 1; i < streams; ++i) sum = fma(set(pre_mix[i]), x[i], sum);
  return sum;
}

// One token's whole row. N streams of x, or x.shape[1] of them.
template <class X, class H, int N>
inline void pre_row(const View& x, int64_t token, const float* pre_mix, H* h) {
  const int n = N == kAnyStreams ? static_cast<int>(x.shape[1]) : N;
  const int64_t width = x.shape[2];
  const X* row[N == kAnyStreams ? kMaxStreams : N];
  for (int i = 0; i < n; ++i) row[i] = x.at<X>(token, i);
  for (int64_t c = 0; c < width; c += W) {
    F value[N == kAnyStreams ? kMaxStreams : N];
    for (int i = 0; i < n; ++i) value[i] = load_upto(row[i] + c, width - c);
    store_upto(h + c, pre_value<N>(pre_mix, value, n), width - c);
  }
}

// One token's row of a [T, n] tensor.
inline void load_mix_row(const View& mix, int64_t token, int n, float* row) {
  for (int i = 0; i < n; ++i) row[i] = load1(mix.at<float>(token, i));
}

}  // namespace mhc::cpu::MHC_TIER
