// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"
#include "cpu/past_caches.h"
#include "cpu/pre.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, class H, int N>
void pre_backward_token(const PreBackwardProblem& p, bool past_caches, int64_t token) {
  int n = N == kAnyStreams ? p.sizes.streams : N;
  constexpr int kRoom = N == kAnyStreams ? kMaxStreams : N;
  float pre_mix[kMaxStreams];
  load_mix_row(p.pre_mix, token, n, pre_mix);
  F dots[kRoom];
  for (int i = 0; i < n; ++i) dots[i] = zero();
  const H* d_h = p.d_h.at<H>(token);
  for (int64_t c = 0; c < p.sizes.width; c += W) {
    int64_t left = p.sizes.width - c;
    F gradient = load_upto(d_h + c, left);
    for (int i = 0; i < n; ++i) {
      if (p.d_pre_mix) dots[i] = fma(load_upto(p.x.at<X>(token, i) + c, left), gradient, dots[i]);
      if (!p.d_x) continue;
      X* out = p.d_x.at<X>(token, i) + c;
      F d_x = set(pre_mix[i]) * gradient;
      if (p.accumulate_inputs) d_x = d_x + load_upto(out, left);
      put(out, d_x, left, past_caches);
    }
  }
  if (!p.d_pre_mix) return;
  for (int i = 0; i < n; ++i) store1(p.d_pre_mix.at<float>(token, i), sum(dots[i]));
}

}  // namespace

Space pre_backward_space(const PreBackwardProblem&, int) { return {}; }

void pre_backward(const PreBackwardProblem& p, const Job& job) {
  bool past_caches = !p.accumulate_inputs && larger_than_caches(p.d_x);
  with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) {
    with_streams(p.sizes.streams, [&](auto streams) {
      for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          pre_backward_token<typename decltype(x)::type, typename decltype(h)::type, streams>(p, past_caches, t);
        }
        stream_fence();
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
