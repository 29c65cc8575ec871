// SPDX-License-Identifier: Apache-2.0
#include "cpu/fp8.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// Rows [first, last) and columns [begin, begin + count): amax first, then the quotients, from the caches.
template <class H>
void quantize_square(const Fp8QuantizeProblem& p, int64_t down, int64_t across) {
  int64_t first = down * kFp8Tile, last = std::min(p.rows, first + kFp8Tile);
  int64_t begin = across * kFp8Tile, count = std::min<int64_t>(kFp8Tile, p.columns - begin);
  F amax = zero();
  for (int64_t r = first; r < last; ++r) {
    const H* src = p.src.at<H>(r) + begin;
    for (int64_t c = 0; c < count; c += W) amax = max(amax, finite_magnitude(load_upto(src + c, count - c)));
  }
  float value = fp8_scale(max_of(amax), p.amax_floor, p.scale_rounding);
  store_fp8_scale(p.scale.data, p.scale.type, down * p.scale.stride[0] + across * p.scale.stride[1], value);
  Fp8Divisor by(value);
  for (int64_t r = first; r < last; ++r) {
    const H* src = p.src.at<H>(r) + begin;
    e4m3* dst = p.dst.at<e4m3>(r) + begin;
    for (int64_t c = 0; c < count; c += W) by.store(dst + c, load_upto(src + c, count - c), count - c);
  }
}

template <class H>
void quantize_row(const Fp8QuantizeProblem& p, int64_t row) {
  int64_t scale_size = p.scale.type == DType::E8M0 ? 1 : 4;
  fp8_quantize_row(p.src.at<H>(row), p.columns, p.dst.at<uint8_t>(row),
                   p.scale.data + row * p.scale.stride[0] * scale_size, p.scale.type, p.scale.stride[1],
                   p.scale_rounding, p.amax_floor);
}

}  // namespace

Space fp8_quantize_space(const Fp8QuantizeProblem&, int) { return {}; }

void fp8_quantize(const Fp8QuantizeProblem& p, const Job& job) {
  with_row_type(p.src.type, [&](auto tag) {
    using H = typename decltype(tag)::type;
    if (p.tile == MHC_FP8_TILE_1X128) {
      for_token_blocks(job.pool, p.rows, 16, [&](int, int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) quantize_row<H>(p, r);
      });
    } else {
      int64_t down = (p.rows + kFp8Tile - 1) / kFp8Tile, across = (p.columns + kFp8Tile - 1) / kFp8Tile;
      job.pool.parallel(down * across, [&](int, int64_t tile) { quantize_square<H>(p, tile / across, tile % across); });
    }
  });
}

}  // namespace mhc::cpu::MHC_TIER
