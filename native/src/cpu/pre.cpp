// SPDX-License-Identifier: Apache-2.0
#include "cpu/pre.h"

#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, class H, int N>
void pre_token(const PreProblem& p, int64_t token) {
  int n = N == kAnyStreams ? p.sizes.streams : N;
  float pre_mix[kMaxStreams];
  load_mix_row(p.pre_mix, token, n, pre_mix);
  H* h = p.h.at<H>(token);
  for (int64_t c = 0; c < p.sizes.width; c += W) {
    int64_t left = p.sizes.width - c;
    F x[N == kAnyStreams ? kMaxStreams : N];
    for (int i = 0; i < n; ++i) x[i] = load_upto(p.x.at<X>(token, i) + c, left);
    store_upto(h + c, pre_value<N>(pre_mix, x, n), left);
  }
}

}  // namespace

Space pre_space(const PreProblem&, int) { return {}; }

void pre(const PreProblem& p, const Job& job) {
  with_row_types(p.x.type, p.h.type, [&](auto x, auto h) {
    with_streams(p.sizes.streams, [&](auto streams) {
      for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          pre_token<typename decltype(x)::type, typename decltype(h)::type, streams>(p, t);
        }
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
