// SPDX-License-Identifier: Apache-2.0
// With g = weight * d_y, u = x / r and k = mean(g * u):  d_x = (g - u * k) / r,  d_weight = sum over tokens of d_y * u.
// A slab of tokens to a block, which goes through its rows one after the other. A thread has the same channels of every
// row, so that a row and the slab's part of d_weight stay in shared memory without a barrier.
#include "cuda/rows.h"
#include "cuda/slabs.h"
#include "cuda/sums.h"
#include "lanes/rms.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens, width, slab;
  bool aligned, weight_aligned, accumulate;
  bool kept;  // rows and sums have room in shared memory
  float eps;
  Array<const float> weight;
  float* parts;  // of d_weight: [slab][pieces * kPiece], or nullptr
};

using Sums = OverBlock<2>;

template <class X>
struct Shared {
  Piece<X>*x, *d_y;
  Piece<float>* d_weight;
  float* sums;

  static size_t bytes(int64_t pieces) {
    return static_cast<size_t>(pieces) * (2 * sizeof(Piece<X>) + sizeof(Piece<float>)) + kFixed;
  }
  static constexpr size_t kFixed = Sums::floats(kThreads) * sizeof(float);
  MHC_FN Shared(const Arguments& a, int64_t pieces, int64_t slab) {
    sums = reinterpret_cast<float*>(shared_memory());
    x = reinterpret_cast<Piece<X>*>(shared_memory() + kFixed);
    d_y = x + pieces;
    d_weight = reinterpret_cast<Piece<float>*>(d_y + pieces);
    if (!a.kept && a.parts) d_weight = reinterpret_cast<Piece<float>*>(a.parts) + slab * pieces;
  }
};

template <class X>
MHC_KERNEL(kThreads) rmsnorm_backward_kernel(const Arguments a, const Array<const X> x, const Array<const X> d_y, const Array<X> d_x) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece, slab = block_index();
  const Shared<X> s(a, pieces, slab);
  Sums over_block(s.sums);
  auto each_piece = [&](const auto& body) MHC_INLINE {
    for (int64_t p = thread_index(); p < pieces; p += kThreads) body(p, p * kPiece, a.width - p * kPiece);
  };
  auto weight_of = [&](int64_t c, int64_t left) MHC_INLINE { return load_piece(a.weight.at() + c, left, a.weight_aligned, Use::Again); };
  if (a.parts) each_piece([&](int64_t p, int64_t, int64_t) MHC_INLINE { s.d_weight[p].clear(); });

  const int64_t end = (slab + 1) * a.slab < a.tokens ? (slab + 1) * a.slab : a.tokens;
  for (int64_t token = slab * a.slab; token < end; ++token) {
    float sum[2] = {};  // x^2, x g
    each_piece([&](int64_t p, int64_t c, int64_t left) MHC_INLINE {
      const Piece<X> v = load_piece(x.at(token, c), left, a.aligned), y = load_piece(d_y.at(token, c), left, a.aligned);
      Piece<float> weight;
      if (a.weight) weight = weight_of(c, left);
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        sum[0] = fmaf(v[e], v[e], sum[0]);
        sum[1] = fmaf(v[e], a.weight ? weight[e] * y[e] : y[e], sum[1]);
      }
      if (a.kept) {
        s.x[p] = v;
        s.d_y[p] = y;
      }
    });
    over_block.put(sum);
    const float inv_rms = inv_rms_of(over_block.total(0), a.width, MHC_RMS_EPS_INSIDE, a.eps);
    const float k = over_block.total(1) * inv_rms / static_cast<float>(a.width);
    each_piece([&](int64_t p, int64_t c, int64_t left) MHC_INLINE {
      const Piece<X> v = a.kept ? s.x[p] : load_piece(x.at(token, c), left, a.aligned);
      const Piece<X> y = a.kept ? s.d_y[p] : load_piece(d_y.at(token, c), left, a.aligned);
      Piece<float> weight;
      if (a.weight) weight = weight_of(c, left);
      Piece<X> before;
      if (a.accumulate) before = load_piece(d_x.at(token, c), left, a.aligned);
      float out[kPiece], total[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        const float u = v[e] * inv_rms, g = a.weight ? weight[e] * y[e] : y[e];
        out[e] = (g - u * k) * inv_rms;
        if (a.accumulate) out[e] = before[e] + out[e];
        if (a.parts) total[e] = fmaf(y[e], u, s.d_weight[p][e]);
      }
      store_values(d_x.at(token, c), out, left, a.aligned);
      if (a.parts) s.d_weight[p].set(total);
    });
  }
  if (!a.parts || !a.kept) return;
  each_piece([&](int64_t p, int64_t c, int64_t) MHC_INLINE {
    store_piece(a.parts + slab * pieces * kPiece + c, s.d_weight[p], kPiece, true, Use::Again);
  });
}

Slabs slabs_of(const RmsnormBackwardProblem& p) { return Slabs(p.sizes.tokens, 4, 512); }

}  // namespace

size_t rmsnorm_backward_space(const RmsnormBackwardProblem& p, const DeviceProperties&) {
  return p.d_weight ? static_cast<size_t>(slabs_of(p).count * pieces_of(p.sizes.width) * kPiece) * sizeof(float) : 0;
}

void rmsnorm_backward(const RmsnormBackwardProblem& p, Job& job) {
  const Slabs slabs = slabs_of(p);
  const int64_t pieces = pieces_of(p.sizes.width);
  Arguments a{p.sizes.tokens, p.sizes.width, slabs.size, rows_aligned(p.x) && rows_aligned(p.d_y) && rows_aligned(p.d_x),
              rows_aligned(p.weight), p.accumulate_inputs, false, p.eps, Array<const float>(p.weight),
              p.d_weight ? reinterpret_cast<float*>(job.workspace) : nullptr};
  with_row_type(p.x.type, [&](auto type) {
    using X = decltype(type);
    a.kept = Shared<X>::bytes(pieces) <= job.device.shared_bytes;
    const Grid grid{slabs.count, kThreads, a.kept ? Shared<X>::bytes(pieces) : Shared<X>::kFixed};
    job.launch(grid, rmsnorm_backward_kernel<X>, a, Array<const X>(p.x), Array<const X>(p.d_y), Array<X>(p.d_x));
  });
  if (p.d_weight) sum_slabs(a.parts, pieces * kPiece, slabs.count, p.d_weight, p.accumulate_parameters, job);
}

}  // namespace mhc::cuda
