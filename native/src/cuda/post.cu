// SPDX-License-Identifier: Apache-2.0
#include "cuda/layer_output.h"
#include "cuda/mixes.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width;
  int streams;
  bool in_out, aligned;
  Array<const float> post_mix, res_mix;
};

template <class X, class H, int N>
MHC_KERNEL(kThreads) post_kernel(const Arguments a, const Array<const X> x, const LayerOutput<H> f, const Array<X> x_next) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    const int n = N == kAnyStreams ? a.streams : N;
    PostMix<N> mix;
    mix.load(a.post_mix, a.res_mix, a.in_out, token, n);
    Piece<X> in[kRoom<N>];
    repeat<N>(n, [&](auto i) MHC_INLINE { in[i] = load_piece(x.at(token, i, c), left, a.aligned); });
    f.with_values(f.load(token, c, left, a.aligned), [&](const auto& layer) MHC_INLINE {
      repeat<N>(n, [&](auto o) MHC_INLINE {
        float out[kPiece];
#pragma unroll
        for (int e = 0; e < kPiece; ++e) {
          out[e] = mix.next(o, [&](auto i) MHC_INLINE { return in[i][e]; }, layer[e], n);
        }
        store_values(x_next.at(token, o, c), out, left, a.aligned);
      });
    });
  });
}

}  // namespace

size_t post_space(const PostProblem&, const DeviceProperties&) { return 0; }

void post(const PostProblem& p, Job& job) {
  const bool aligned = rows_aligned(p.x) && layer_output_aligned(p.f) && rows_aligned(p.x_next);
  const Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, p.orientation == MHC_IN_OUT, aligned,
                    Array<const float>(p.post_mix), Array<const float>(p.res_mix)};
  with_row_types(p.x.type, p.f_scale ? p.x.type : p.f.type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    with_streams(p.sizes.streams, [&](auto n) {
      job.launch(share(a.tokens * pieces_of(a.width), job.device), post_kernel<X, H, n>, a, Array<const X>(p.x),
                 LayerOutput<H>(p.f, p.f_scale), Array<X>(p.x_next));
    });
  });
}

}  // namespace mhc::cuda
