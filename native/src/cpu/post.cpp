// SPDX-License-Identifier: Apache-2.0
#include "cpu/post.h"

#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, class H, int N>
void post_token(const PostProblem& p, int64_t token) {
  int n = N == kAnyStreams ? p.sizes.streams : N;
  PostMix mix;
  mix.load(p.post_mix, p.res_mix, p.orientation, token, n);
  const H* f = p.f.at<H>(token);
  for (int64_t c = 0; c < p.sizes.width; c += W) {
    int64_t left = p.sizes.width - c;
    F x[N == kAnyStreams ? kMaxStreams : N];
    for (int i = 0; i < n; ++i) x[i] = load_upto(p.x.at<X>(token, i) + c, left);
    F layer = load_upto(f + c, left);
    for (int o = 0; o < n; ++o) {
      store_upto(p.x_next.at<X>(token, o) + c, post_value<N>(mix, o, x, layer, n), left);
    }
  }
}

}  // namespace

Space post_space(const PostProblem&, int) { return {}; }

void post(const PostProblem& p, const Job& job) {
  with_row_types(p.x.type, p.f.type, [&](auto x, auto f) {
    with_streams(p.sizes.streams, [&](auto streams) {
      for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          post_token<typename decltype(x)::type, typename decltype(f)::type, streams>(p, t);
        }
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
