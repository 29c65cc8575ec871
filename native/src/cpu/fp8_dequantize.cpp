// SPDX-License-Identifier: Apache-2.0
#include "cpu/fp8.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class H>
void dequantize_row(const Fp8DequantizeProblem& p, int64_t row) {
  int64_t down = p.tile == MHC_FP8_TILE_1X128 ? row : row / kFp8Tile;
  fp8_dequantize_row(p.src.at<e4m3>(row), p.scale, down, 0, p.columns, p.dst.at<H>(row));
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
