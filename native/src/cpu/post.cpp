// SPDX-License-Identifier: Apache-2.0
#include "cpu/post.h"

#include "cpu/fp8.h"
#include "cpu/kernels.h"
#include "cpu/past_caches.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X, int N, class H>
void post_token(const PostProblem& p, int64_t token, const H* f, int64_t next_f) {
  const int n = N == kAnyStreams ? p.sizes.streams : N;
  PostMix mix;
  mix.load(p.post_mix, p.res_mix, p.orientation, token, n);
  const X* in[kRoom<N>];
  X* out[kRoom<N>];
  for (int i = 0; i < n; ++i) in[i] = p.x.at<X>(token, i), out[i] = p.x_next.at<X>(token, i);
  const bool past_caches = p.x_next.data != p.x.data && larger_than_caches(p.x_next);
  const int64_t next_x = p.x.stride[0];
  for (int64_t c = 0; c < p.sizes.width; c += W) {
    const int64_t left = p.sizes.width - c;
    F x[kRoom<N>];
    for (int i = 0; i < n; ++i) {
      prefetch(in[i] + next_x + c);
      x[i] = load_upto(in[i] + c, left);
    }
    prefetch(f + next_f + c);
    const F layer = load_upto(f + c, left);
    for (int o = 0; o < n; ++o) put(out[o] + c, post_value<N>(mix, o, x, layer, n), left, past_caches);
  }
}

template <class Body>
void for_tokens(const PostProblem& p, const Job& job, const Body& body) {
  with_streams(p.sizes.streams, [&](auto streams) {
    for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int worker, int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) body(streams, worker, t);
      stream_fence();
    });
  });
}

}  // namespace

// A row of f that is FP8.
Space post_space(const PostProblem& p, int) {
  Space space;
  if (p.f_scale) space.per_thread = static_cast<size_t>(p.sizes.width) * sizeof(float);
  return space;
}

void post(const PostProblem& p, const Job& job) {
  if (p.f_scale) {
    with_row_type(p.x.type, [&](auto x) {
      for_tokens(p, job, [&](auto streams, int worker, int64_t token) {
        float* f = reinterpret_cast<float*>(job.scratch(worker));
        fp8_dequantize_row(p.f.at<e4m3>(token), p.f_scale, token, 0, p.sizes.width, f);
        post_token<typename decltype(x)::type, streams>(p, token, f, 0);
      });
    });
    return;
  }
  with_row_types(p.x.type, p.f.type, [&](auto x, auto f) {
    for_tokens(p, job, [&](auto streams, int, int64_t token) {
      post_token<typename decltype(x)::type, streams>(p, token, p.f.at<typename decltype(f)::type>(token), p.f.stride[0]);
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
