// SPDX-License-Identifier: Apache-2.0
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool aligned;
};

template <class X, class H>
MHC_KERNEL(kThreads) expand_kernel(const Arguments a, const Array<const H> embedding, const Array<X> x) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    const Piece<H> piece = load_piece(embedding.at(token, c), left, a.aligned);
    float value[kPiece];
#pragma unroll
    for (int e = 0; e < kPiece; ++e) value[e] = piece[e];
    for (int i = 0; i < a.streams; ++i) store_values(x.at(token, i, c), value, left, a.aligned);
  });
}

}  // namespace

size_t expand_space(const ExpandProblem&, const DeviceProperties&) { return 0; }

void expand(const ExpandProblem& p, Job& job) {
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, rows_aligned(p.embedding) && rows_aligned(p.x)};
  with_row_types(p.x.type, p.embedding.type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    job.launch(share(a.tokens * pieces_of(a.width), job.device), expand_kernel<X, H>, a, Array<const H>(p.embedding), Array<X>(p.x));
  });
}

}  // namespace mhc::cuda
