// SPDX-License-Identifier: Apache-2.0
#include "cuda/mixes.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool aligned;
  Array<const float> pre_mix;
};

template <class X, class H, int N>
MHC_KERNEL(kThreads) pre_kernel(const Arguments a, const Array<const X> x, const Array<H> h) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    const int n = N == kAnyStreams ? a.streams : N;
    float pre[kRoom<N>];
    Piece<X> in[kRoom<N>];
    repeat<N>(n, [&](auto i) MHC_INLINE {
      pre[i] = load1(a.pre_mix.at(token, i));
      in[i] = load_piece(x.at(token, i, c), left, a.aligned);
    });
    float out[kPiece];
#pragma unroll
    for (int e = 0; e < kPiece; ++e) {
      out[e] = pre_value<N>([&](auto i) MHC_INLINE { return pre[i]; }, [&](auto i) MHC_INLINE { return in[i][e]; }, n);
    }
    store_values(h.at(token, c), out, left, a.aligned);
  });
}

}  // namespace

size_t pre_space(const PreProblem&, const DeviceProperties&) { return 0; }

void pre(const PreProblem& p, Job& job) {
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, rows_aligned(p.x) && rows_aligned(p.h),
                    Array<const float>(p.pre_mix)};
  with_row_types(p.x.type, p.h.type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    with_streams(p.sizes.streams, [&](auto n) {
      job.launch(share(a.tokens * pieces_of(a.width), job.device), pre_kernel<X, H, n>, a, Array<const X>(p.x), Array<H>(p.h));
    });
  });
}

}  // namespace mhc::cuda
