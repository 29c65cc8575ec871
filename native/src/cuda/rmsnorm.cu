// SPDX-License-Identifier: Apache-2.0
// A row to a warp. Its squares are added as the single pass adds them: eight channels of a lane, four lanes, eight such
// parts of a unit of 256 channels, the units.
#include "cuda/rows.h"
#include "lanes/rms.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t rows, width;
  bool aligned;
  float eps;
  Array<const float> weight;
  Array<float> inv_rms;
};

constexpr int kUnit = 256, kWarps = kThreads / 32;

template <class X>
MHC_KERNEL(kThreads) rmsnorm_kernel(const Arguments a, const Array<const X> x, const Array<X> y) {
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  for (int64_t row = block_index() * kWarps + warp; row < a.rows; row += block_count() * kWarps) {
    float total = 0.0f;
    for (int64_t unit = 0; unit < a.width; unit += kUnit) {
      const int64_t c = unit + lane * kPiece;
      const Piece<X> piece = load_piece(x.at(row, c), a.width - c, a.aligned, Use::Again);
      float squares = 0.0f;
#pragma unroll
      for (int e = 0; e < kPiece; ++e) squares = fmaf(piece[e], piece[e], squares);
      squares = squares + shuffle_xor(squares, 1);
      squares = squares + shuffle_xor(squares, 2);
      float sum = shuffle(squares, 0);
#pragma unroll
      for (int part = 1; part < 8; ++part) sum += shuffle(squares, 4 * part);
      total = unit == 0 ? sum : total + sum;
    }
    const float inv_rms = inv_rms_of(total, a.width, MHC_RMS_EPS_INSIDE, a.eps);
    for (int64_t c = lane * kPiece; c < a.width; c += kUnit) {
      const Piece<X> piece = load_piece(x.at(row, c), a.width - c, a.aligned);
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = piece[e] * inv_rms;
        if (a.weight && c + e < a.width) out[e] = out[e] * load1(a.weight.at() + c + e);
      }
      store_values(y.at(row, c), out, a.width - c, a.aligned);
    }
    if (lane == 0 && a.inv_rms) store1(a.inv_rms.at(row), inv_rms);
  }
}

}  // namespace

size_t rmsnorm_space(const RmsnormProblem&, const DeviceProperties&) { return 0; }

void rmsnorm(const RmsnormProblem& p, Job& job) {
  const Arguments a{p.sizes.tokens, p.sizes.width, rows_aligned(p.x) && rows_aligned(p.y), p.eps, Array<const float>(p.weight),
                    Array<float>(p.inv_rms)};
  with_row_type(p.x.type, [&](auto type) {
    using X = decltype(type);
    job.launch(share(a.rows * 32, job.device), rmsnorm_kernel<X>, a, Array<const X>(p.x), Array<X>(p.y));
  });
}

}  // namespace mhc::cuda
