// SPDX-License-Identifier: Apache-2.0
#include "cpu/post_backward.h"

#include "cpu/fp8.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// One token's f from channel c on; a chunk of it where it is FP8.
template <class H>
LayerRow<H> layer_row(const PostBackwardProblem& p, int64_t token, int64_t c, float* chunk) {
  if (!p.f_scale) return {p.f.at<H>(token) + c, nullptr};
  fp8_dequantize_row(p.f.at<e4m3>(token), p.f_scale, token, c, std::min(c + kChunk, p.sizes.width), chunk);
  return {nullptr, chunk};
}

template <class X, class H, int N>
void post_backward_token(const PostBackwardProblem& p, bool past_caches, int64_t token) {
  constexpr int kRoom = N == kAnyStreams ? kMaxStreams : N;
  int n = N == kAnyStreams ? p.sizes.streams : N;
  PostMix mix;
  mix.load(p.post_mix, p.res_mix, p.orientation, token, n);
  F dots[kRoom + kRoom * kRoom];
  for (int k = 0; k < post_dots(n); ++k) dots[k] = zero();
  alignas(64) float d[kChunkVectors * kRoom * W], f[kChunk];
  for (int64_t c = 0; c < p.sizes.width; c += kChunk) {
    int64_t left = p.sizes.width - c;
    const LayerRow<H> layer = layer_row<H>(p, token, c, f);
    PostOutputs<X, H> out{p.d_x ? p.d_x.at<X>(token) + c : nullptr, p.d_x.stride[1],
                          p.d_f ? p.d_f.at<H>(token) + c : nullptr, p.accumulate_inputs, past_caches};
    const X *d_next = p.d_x_next.at<X>(token) + c, *x = p.x.at<X>(token) + c;
    const int64_t d_token = p.d_x_next.stride[0], d_stream = p.d_x_next.stride[1];
    const int64_t x_token = p.x.stride[0], x_stream = p.x.stride[1];
    auto gradient = [=](int v, F* value) MHC_INLINE {
      for (int o = 0; o < n; ++o) {
        const X* from = d_next + o * d_stream + v * W;
        prefetch(from + d_token);  // of the next token
        prefetch(x + o * x_stream + v * W + x_token);
        value[o] = load_upto(from, left - v * W);
      }
    };
    auto to_inputs = [&](auto whole) {
      post_backward_chunk<X, H, N, whole>(mix, n, gradient, d, n * W, x, x_stream, layer, left, out,
                                          dots);
    };
    left >= kChunk ? to_inputs(std::true_type{}) : to_inputs(std::false_type{});
  }
  write_post_dots(dots, n, p.orientation, token, p.d_post_mix, p.d_res_mix);
}

}  // namespace

Space post_backward_space(const PostBackwardProblem&, int) { return {}; }

void post_backward(const PostBackwardProblem& p, const Job& job) {
  bool in_place = p.d_x && p.d_x.data == p.d_x_next.data;
  bool past_caches = !in_place && !p.accumulate_inputs && larger_than_caches(p.d_x);
  with_row_types(p.x.type, p.layer_type, [&](auto x, auto f) {
    with_streams(p.sizes.streams, [&](auto streams) {
      for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t) {
          post_backward_token<typename decltype(x)::type, typename decltype(f)::type, streams>(p, past_caches, t);
        }
        stream_fence();
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
