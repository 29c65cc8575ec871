// SPDX-License-Identifier: Apache-2.0
// From D, the gradient of one token's x_next, to the gradients of x, f, post_mix and H_res, some channels at a time:
//   d_x[i] = sum_o H_res[o][i] D[o];  d_f = sum_o post_mix[o] D[o];  d_post_mix[o] = <D[o], f>;  dH_res[o][i] = <D[o], x[i]>
#pragma once

#include "core/arguments.h"
#include "cpu/past_caches.h"
#include "cpu/post.h"

namespace mhc::cpu::MHC_TIER {

// Channels that a token's rows are worked on at a time.
constexpr int kChunkVectors = 8;
constexpr int64_t kChunk = kChunkVectors * W;

// The number of streams, a constant wherever N says it.
template <int N>
struct StreamCount {
  explicit StreamCount(int) {}
  constexpr operator int() const { return N; }
};
template <>
struct StreamCount<kAnyStreams> {
  explicit StreamCount(int n) : n(n) {}
  operator int() const { return n; }
  int n;
};

// One token's f from a channel on: as it is stored, or where that is FP8 the floats that were made of it.
template <class H>
struct LayerRow {
  const H* stored;
  const float* dequantised;

  F at(int64_t c, int64_t left) const {
    return dequantised ? load_upto(dequantised + c, left) : load_upto(stored + c, left);
  }
  LayerRow from(int64_t c) const { return dequantised ? LayerRow{nullptr, dequantised + c} : LayerRow{stored + c, nullptr}; }
};

// One token's outputs from a channel on; nullptr: not wanted.
template <class X, class H>
struct PostOutputs {
  X* d_x;
  int64_t d_x_step;
  H* d_f;
  bool accumulate;
  bool past_caches;
};

// The dot products of one token: vectors of partial sums, [n] of post_mix and then [n][n] of H_res, [out][in].
inline int post_dots(int n) { return n + n * n; }

// gradient(v, D) makes vector v of D[n], for which there is room at d, d_step floats from one vector of channels to the next;
// x[i] are x_step elements apart. A whole chunk has kChunk channels, whatever left says.
template <class X, class H, int N, bool kWhole, class Gradient>
inline void post_backward_chunk(const PostMix& mix, int streams, const Gradient& gradient, float* d, int64_t d_step, const X* x,
                                int64_t x_step, const LayerRow<H>& f, int64_t left, const PostOutputs<X, H>& out, F* dots) {
  const StreamCount<N> n(streams);
  constexpr int kRoom = N == kAnyStreams ? kMaxStreams : N;
  const int vectors = kWhole ? kChunkVectors : static_cast<int>((left + W - 1) / W);
  auto left_at = [&](int v) MHC_INLINE { return kWhole ? W : left - v * W; };
  F d_post[kRoom];
  repeat<N>(n, [&](auto o) MHC_INLINE { d_post[o] = dots[o]; });
  for (int v = 0; v < vectors; ++v) {
    F value[kRoom], layer = f.at(v * W, left_at(v)), d_f = zero();
    gradient(v, value);
    repeat<N>(n, [&](auto o) MHC_INLINE {
      store(d + v * d_step + o * W, value[o]);
      d_f = fma(set(mix.post[o]), value[o], d_f);
      d_post[o] = fma(value[o], layer, d_post[o]);
    });
    if (!out.d_f) continue;
    if (out.accumulate) d_f = d_f + load_upto(out.d_f + v * W, left_at(v));
    put(out.d_f + v * W, d_f, left_at(v), out.past_caches);
  }
  repeat<N>(n, [&](auto o) MHC_INLINE { dots[o] = d_post[o]; });
  dots += n;
  F local[N == kAnyStreams ? 1 : N * N];
  F* d_res = dots;
  if constexpr (N != kAnyStreams) {  // few enough for registers
    repeat<N * N>(N * N, [&](auto k) MHC_INLINE { local[k] = dots[k]; });
    d_res = local;
  }
  for (int v = 0; v < vectors; ++v) {
    F value[kRoom];
    repeat<N>(n, [&](auto o) MHC_INLINE { value[o] = load(d + v * d_step + o * W); });
    repeat<N>(n, [&](auto i) MHC_INLINE {
      F input = load_upto(x + i * x_step + v * W, left_at(v));
      F d_x = zero();
      repeat<N>(n, [&](auto o) MHC_INLINE {
        d_x = fma(set(mix.res[o][i]), value[o], d_x);
        d_res[o * n + i] = fma(value[o], input, d_res[o * n + i]);
      });
      if (!out.d_x) return;
      X* p = out.d_x + i * out.d_x_step + v * W;
      if (out.accumulate) d_x = d_x + load_upto(p, left_at(v));
      put(p, d_x, left_at(v), out.past_caches);
    });
  }
  if constexpr (N != kAnyStreams) {
    repeat<N * N>(N * N, [&](auto k) MHC_INLINE { dots[k] = local[k]; });
  }
}

// The sums of one token's dots, to its rows of d_post_mix and d_res_mix (as the orientation says).
inline void write_post_dots(const F* dots, int n, int32_t orientation, int64_t token, const View& d_post_mix,
                            const View& d_res_mix) {
  for (int o = 0; o < n; ++o) {
    if (d_post_mix) store1(d_post_mix.at<float>(token, o), sum(dots[o]));
    if (!d_res_mix) continue;
    for (int i = 0; i < n; ++i) {
      int row = orientation == MHC_OUT_IN ? o : i, column = orientation == MHC_OUT_IN ? i : o;
      store1(d_res_mix.at<float>(token, row, column), sum(dots[n + o * n + i]));
    }
  }
}

}  // namespace mhc::cpu::MHC_TIER
