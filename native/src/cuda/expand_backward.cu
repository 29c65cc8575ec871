// SPDX-License-Identifier: Apache-2.0
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool aligned, accumulate;
};

template <class X, class H>
MHC_KERNEL(kThreads) expand_backward_kernel(const Arguments a, const Array<const X> d_x, const Array<H> d_embedding) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    float sum[kPiece] = {};
    for (int i = 0; i < a.streams; ++i) {
      const Piece<X> piece = load_piece(d_x.at(token, i, c), left, a.aligned);
#pragma unroll
      for (int e = 0; e < kPiece; ++e) sum[e] = i == 0 ? piece[e] : sum[e] + piece[e];
    }
    if (a.accumulate) {
      const Piece<H> before = load_piece(d_embedding.at(token, c), left, a.aligned);
#pragma unroll
      for (int e = 0; e < kPiece; ++e) sum[e] = sum[e] + before[e];
    }
    store_values(d_embedding.at(token, c), sum, left, a.aligned);
  });
}

}  // namespace

size_t expand_backward_space(const ExpandBackwardProblem&, const DeviceProperties&) { return 0; }

void expand_backward(const ExpandBackwardProblem& p, Job& job) {
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, rows_aligned(p.d_x) && rows_aligned(p.d_embedding),
                    p.accumulate_inputs};
  with_row_types(p.d_x.type, p.d_embedding.type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    job.launch(share(a.tokens * pieces_of(a.width), job.device), expand_backward_kernel<X, H>, a, Array<const X>(p.d_x),
               Array<H>(p.d_embedding));
  });
}

}  // namespace mhc::cuda
