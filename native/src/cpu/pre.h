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

// One token's row of a [T, n] tensor.
inline void load_mix_row(const View& mix, int64_t token, int n, float* row) {
  for (int i = 0; i < n; ++i) row[i] = load1(mix.at<float>(token, i));
}

}  // namespace mhc::cpu::MHC_TIER
