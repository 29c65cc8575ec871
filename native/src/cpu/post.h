// SPDX-License-Identifier: Apache-2.0
// x_next[o] = sum_i H_res[o][i] x[i] + post_mix[o] f, for one vector of channels. Every path that makes an x_next uses
// this, so that all give the same bits.
#pragma once

#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

// One token's coefficients, H_res as [out][in] whatever the stored orientation.
struct PostMix {
  float post[kMaxStreams];
  float res[kMaxStreams][kMaxStreams];

  void load(const View& post_mix, const View& res_mix, int32_t orientation, int64_t token, int n) {
    for (int o = 0; o < n; ++o) {
      post[o] = load1(post_mix.at<float>(token) + o * post_mix.stride[1]);
      for (int i = 0; i < n; ++i) {
        int row = orientation == MHC_OUT_IN ? o : i, column = orientation == MHC_OUT_IN ? i : o;
        res[o][i] = load1(res_mix.at<float>(token, row, column));
      }
    }
  }
};

// N streams (n of them where N is kAnyStreams).
template <int N>
inline F post_value(const PostMix& mix, int o, const F* x, F f, int n) {
  int streams = N == kAnyStreams ? n : N;
  F sum = set(mix.post[o]) * f;
  for (int i = 0; i < streams; ++i) sum = fma(set(mix.res[o][i]), x[i], sum);
  return sum;
}

}  // namespace mhc::cpu::MHC_TIER
