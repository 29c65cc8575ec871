// SPDX-License-Identifier: Apache-2.0
// A token's coefficients as kernels use them, and the two sums that apply them. Every path that makes an x_next or an h
// uses these, so that all give the same bits.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// Coefficients that were there before the kernel, or that it made itself.
enum class Made { Before, Meanwhile };
template <Made kMade>
MHC_FN float load_mix(const float* p) {
  if constexpr (kMade == Made::Before) return load1(p);
  return load_fresh(p);
}

// post_mix, and H_res as [out][in] whatever the stored orientation.
template <int N>
struct PostMix {
  float post[kRoom<N>];
  float res[kRoom<N> * kRoom<N>];

  template <Made kMade = Made::Before, class Mix>
  MHC_FN void load(const Array<Mix>& post_mix, const Array<Mix>& res_mix, bool in_out, int64_t token, int n) {
    repeat<N>(n, [&](auto o) MHC_INLINE {
      post[o] = load_mix<kMade>(post_mix.at(token, o));
      repeat<N>(n, [&](auto i) MHC_INLINE {
        res[o * kRoom<N> + i] = load_mix<kMade>(res_mix.at(token, in_out ? i : o, in_out ? o : i));
      });
    });
  }
  // sum_i H_res[o][i] x[i] + post[o] f
  template <class X>
  MHC_FN float next(int o, const X& x, float f, int n) const {
    float sum = post[o] * f;
    repeat<N>(n, [&](auto i) MHC_INLINE { sum = fmaf(res[o * kRoom<N> + i], x(i), sum); });
    return sum;
  }
};

// sum_i pre[i] x[i]
template <int N, class Pre, class X>
MHC_FN float pre_value(const Pre& pre, const X& x, int n) {
  float sum = pre(Streams<0>{}) * x(Streams<0>{});
  repeat<N>(n, [&](auto i) MHC_INLINE {
    if (i > 0) sum = fmaf(pre(i), x(i), sum);
  });
  return sum;
}

}  // namespace mhc::cuda
