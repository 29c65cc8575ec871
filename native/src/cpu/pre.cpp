// SPDX-License-Identifier: Apache-2.0
#include "cpu/pre.h"

#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, class H, int N>
void pre_token(const PreProblem& p, int64_t token) {
  float pre_mix[kMaxStreams];
  load_mix_row(p.pre_mix, token, p.sizes.streams, pre_mix);
  pre_row<X, H, N>(p.x, token, pre_mix, p.h.at<H>(token));
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
