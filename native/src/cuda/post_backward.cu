// SPDX-License-Identifier: Apache-2.0
// A token to a block.
#include "cuda/layer_output.h"
#include "cuda/mixes.h"
#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool in_out, aligned, accumulate;
  Array<const float> post_mix, res_mix;
  Array<float> d_post_mix, d_res_mix;
};

constexpr int kWarps = kThreads / 32;
// n of post_mix and n * n of H_res, [out][in].
template <int N>
inline constexpr int kDots = N == 4 ? 32 : 288;

template <class X, class H, int N>
struct Rows {
  Array<const X> x, d_x_next;
  LayerOutput<H> f;
  Array<X> d_x;
  Array<H> d_f;
};

template <class T>
MHC_FN void put(T* to, float (&v)[kPiece], int64_t left, const Arguments& a) {
  if (a.accumulate) {
    const Piece<T> before = load_piece(to, left, a.aligned);
#pragma unroll
    for (int e = 0; e < kPiece; ++e) v[e] = v[e] + before[e];
  }
  store_values(to, v, left, a.aligned);
}

template <class X, class H, int N>
MHC_FN void piece_of_token(const Arguments& a, const Rows<X, H, N>& rows, const PostMix<N>& mix, int64_t token, int64_t c, int n,
                           float* dots) {
  const int64_t left = a.width - c;
  Piece<X> d[kRoom<N>];
  repeat<N>(n, [&](auto o) MHC_INLINE { d[o] = load_piece(rows.d_x_next.at(token, o, c), left, a.aligned); });
  float d_f[kPiece] = {};
  rows.f.with_values(rows.f.load(token, c, left, a.aligned), [&](const auto& f) MHC_INLINE {
    repeat<N>(n, [&](auto o) MHC_INLINE {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        d_f[e] = fmaf(mix.post[o], d[o][e], d_f[e]);
        dots[o] = fmaf(d[o][e], f[e], dots[o]);
      }
    });
  });
  if (rows.d_f) put(rows.d_f.at(token, c), d_f, left, a);
  repeat<N>(n, [&](auto i) MHC_INLINE {
    const Piece<X> x = load_piece(rows.x.at(token, i, c), left, a.aligned);
    float d_x[kPiece] = {};
    repeat<N>(n, [&](auto o) MHC_INLINE {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        d_x[e] = fmaf(mix.res[o * kRoom<N> + i], d[o][e], d_x[e]);
        dots[n + o * n + i] = fmaf(d[o][e], x[e], dots[n + o * n + i]);
      }
    });
    if (rows.d_x) put(rows.d_x.at(token, i, c), d_x, left, a);
  });
}

template <class X, class H, int N>
MHC_KERNEL(kThreads) post_backward_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT Rows<X, H, N> rows) {
  float* parts = reinterpret_cast<float*>(shared_memory());
  const int n = N == kAnyStreams ? a.streams : N;
  for (int64_t token = block_index(); token < a.tokens; token += block_count()) {
    PostMix<N> mix;
    mix.load(a.post_mix, a.res_mix, a.in_out, token, n);
    float dots[kDots<N>] = {};
    for (int64_t c = int64_t{thread_index()} * kPiece; c < a.width; c += kThreads * kPiece) {
      piece_of_token(a, rows, mix, token, c, n, dots);
    }
    if (!a.d_post_mix && !a.d_res_mix) continue;
    put_parts<kWarps>(dots, parts);
    for (int k = thread_index(); k < n + n * n; k += kThreads) {
      const float total = total_of<kWarps>(parts, k);
      const int o = (k - n) / n, i = (k - n) % n;
      if (k < n && a.d_post_mix) store1(a.d_post_mix.at(token, k), total);
      if (k >= n && a.d_res_mix) store1(a.d_res_mix.at(token, a.in_out ? i : o, a.in_out ? o : i), total);
    }
    sync_block();
  }
}

}  // namespace

size_t post_backward_space(const PostBackwardProblem&, const DeviceProperties&) { return 0; }

void post_backward(const PostBackwardProblem& p, Job& job) {
  const bool aligned = rows_aligned(p.x) && layer_output_aligned(p.f) && rows_aligned(p.d_x_next) && rows_aligned(p.d_x) && rows_aligned(p.d_f);
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, p.orientation == MHC_IN_OUT, aligned, p.accumulate_inputs,
                    Array<const float>(p.post_mix), Array<const float>(p.res_mix), Array<float>(p.d_post_mix), Array<float>(p.d_res_mix)};
  const int64_t most = int64_t{8} * job.device.multiprocessors, blocks = a.tokens < most ? a.tokens : most;
  with_row_types(p.x.type, p.layer_type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    with_streams(p.sizes.streams, [&](auto n) {
      const Rows<X, H, n> rows{Array<const X>(p.x), Array<const X>(p.d_x_next), LayerOutput<H>(p.f, p.f_scale), Array<X>(p.d_x), Array<H>(p.d_f)};
      job.launch({blocks, kThreads, sizeof(float) * kDots<n> * kWarps}, post_backward_kernel<X, H, n>, a, rows);
    });
  });
}

}  // namespace mhc::cuda
