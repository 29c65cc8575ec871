// SPDX-License-Identifier: Apache-2.0
#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, class H, int N>
void backward_token(const ExpandBackwardProblem& p, int64_t token) {
  const int n = N == kAnyStreams ? p.sizes.streams : N;
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs;
  const X* d_x[N == kAnyStreams ? kMaxStreams : N];
  for (int i = 0; i < n; ++i) d_x[i] = p.d_x.at<X>(token, i);
  H* out = p.d_embedding.at<H>(token);
  for (int64_t c = 0; c < width; c += W) {
    int64_t left = width - c;
    F total = load_upto(d_x[0] + c, left);
    for (int i = 1; i < n; ++i) total = total + load_upto(d_x[i] + c, left);
    if (accumulate) total = load_upto(out + c, left) + total;
    store_upto(out + c, total, left);
  }
}

}  // namespace

Space expand_backward_space(const ExpandBackwardProblem&, int) { return {}; }

void expand_backward(const ExpandBackwardProblem& p, const Job& job) {
  with_row_types(p.d_x.type, p.d_embedding.type, [&](auto x, auto h) {
    with_streams(p.sizes.streams, [&](auto streams) {
      for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          backward_token<typename decltype(x)::type, typename decltype(h)::type, streams>(p, t);
        }
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
