// SPDX-License-Identifier: Apache-2.0
// A token to a block.
#include "cuda/rows.h"
#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool aligned, accumulate;
  Array<const float> pre_mix;
  Array<float> d_pre_mix;
};

constexpr int kWarps = kThreads / 32, kDots = 32;

template <class X, class H, int N>
MHC_KERNEL(kThreads) pre_backward_kernel(MHC_CONSTANT Arguments a, const Array<const X> x, const Array<const H> d_h, const Array<X> d_x) {
  float* parts = reinterpret_cast<float*>(shared_memory());
  const int n = N == kAnyStreams ? a.streams : N;
  for (int64_t token = block_index(); token < a.tokens; token += block_count()) {
    float pre[kRoom<N>], dots[kDots] = {};
    repeat<N>(n, [&](auto i) MHC_INLINE { pre[i] = load1(a.pre_mix.at(token, i)); });
    for (int64_t c = int64_t{thread_index()} * kPiece; c < a.width; c += kThreads * kPiece) {
      const int64_t left = a.width - c;
      const Piece<H> gradient = load_piece(d_h.at(token, c), left, a.aligned);
      repeat<N>(n, [&](auto i) MHC_INLINE {
        if (a.d_pre_mix) {
          const Piece<X> in = load_piece(x.at(token, i, c), left, a.aligned);
#pragma unroll
          for (int e = 0; e < kPiece; ++e) dots[i] = fmaf(in[e], gradient[e], dots[i]);
        }
        if (!d_x) return;
        Piece<X> before;
        before.clear();
        if (a.accumulate) before = load_piece(d_x.at(token, i, c), left, a.aligned);
        float out[kPiece];
#pragma unroll
        for (int e = 0; e < kPiece; ++e) out[e] = pre[i] * gradient[e] + before[e];
        store_values(d_x.at(token, i, c), out, left, a.aligned);
      });
    }
    if (!a.d_pre_mix) continue;
    put_parts<kWarps>(dots, parts);
    if (thread_index() < n) store1(a.d_pre_mix.at(token, thread_index()), total_of<kWarps>(parts, thread_index()));
    sync_block();
  }
}

}  // namespace

size_t pre_backward_space(const PreBackwardProblem&, const DeviceProperties&) { return 0; }

void pre_backward(const PreBackwardProblem& p, Job& job) {
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, rows_aligned(p.x) && rows_aligned(p.d_h) && rows_aligned(p.d_x),
                    p.accumulate_inputs, Array<const float>(p.pre_mix), Array<float>(p.d_pre_mix)};
  const int64_t most = int64_t{8} * job.device.multiprocessors, blocks = a.tokens < most ? a.tokens : most;
  with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    with_streams(p.sizes.streams, [&](auto n) {
      job.launch({blocks, kThreads, sizeof(float) * kDots * kWarps}, pre_backward_kernel<X, H, n>, a, Array<const X>(p.x),
                 Array<const H>(p.d_h), Array<X>(p.d_x));
    });
  });
}

}  // namespace mhc::cuda
