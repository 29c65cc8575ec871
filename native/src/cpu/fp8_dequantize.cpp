// SPDX-License-Identifier: Apache-2.0
#include "cpu/fp8.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// 2^(bits - 127), and NaN for 255.
template <class H>
void dequantize_row(const Fp8DequantizeProblem& p, int64_t row) {
  int64_t down = p.tile == MHC_FP8_TILE_1X128 ? row : row / kFp8Tile;
  const e4m3* src = p.src.at<e4m3>(row);
  H* dst = p.dst.at<H>(row);
  for (int64_t begin = 0; begin < p.columns; begin += kFp8Tile) {
    int64_t end = std::min<int64_t>(p.columns, begin + kFp8Tile), across = begin / kFp8Tile * p.scale.stride[1];
    F scale = set(p.scale.type == DType::E8M0 ? e8m0_to_float(load1(p.scale.at<uint8_t>(down) + across))
                                              : load1(p.scale.at<float>(down) + across));
    for (int64_t c = begin; c < end; c += W) store_upto(dst + c, load_upto(src + c, end - c) * scale, end - c);
  }
}

}  // namespace

Space fp8_dequantize_space(const Fp8DequantizeProblem&, int) { return {}; }

void fp8_dequantize(const Fp8DequantizeProblem& p, const Job& job) {
  with_row_type(p.dst.type, [&](auto tag) {
    for_token_blocks(job.pool, p.rows, 16, [&](int, int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) dequantize_row<typename decltype(tag)::type>(p, r);
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
