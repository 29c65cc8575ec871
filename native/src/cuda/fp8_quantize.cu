// SPDX-License-Identifier: Apache-2.0
// Elements stay in registers from the search for the largest to the quotients.
#include "cuda/fp8.h"
#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

constexpr int kSide = 128, kLanes = kSide / 16;  // threads to a tile's row
constexpr int kRowsAtOnce = kThreads / kLanes, kTimes = kSide / kRowsAtOnce;

struct Arguments {
  int64_t rows, columns;
  bool power_of_two, aligned, dst_aligned;
  float floor;
  Array<uint8_t> dst;
  ScaleTarget scale;
};

// 1x128: eight lanes to a tile. Tiles come to whole warps, as lanes ask each other.
template <class X>
MHC_KERNEL(kThreads) quantize_rows_kernel(const Arguments a, const Array<const X> src) {
  const int64_t of_row = (a.columns + kSide - 1) / kSide, tiles = a.rows * of_row;
  const int64_t tiles_of_warp = 32 / kLanes, step = block_count() * (kThreads / kLanes);
  for (int64_t first = (block_index() * kThreads + thread_index()) / 32 * tiles_of_warp; first < tiles; first += step) {
    const int64_t tile = first + thread_index() % 32 / kLanes, row = tile / of_row;
    const int64_t c = tile % of_row * kSide + thread_index() % kLanes * 16, left = tile < tiles ? a.columns - c : 0;
    Sixteen<X> in;
    in.load(src.at(row, c), left, a.aligned);
    float most = in.largest();
#pragma unroll
    for (int mask = kLanes / 2; mask > 0; mask /= 2) most = fmaxf(most, shuffle_xor(most, mask));
    const float scale = fp8_scale_of(most, a.floor, a.power_of_two);
    if (tile < tiles && thread_index() % kLanes == 0) a.scale.put(row, tile % of_row, scale);
    in.quantize(scale, a.dst.at(row, c), left, a.dst_aligned);
  }
}

// 128x128: a tile to a block.
template <class X>
MHC_KERNEL(kThreads) quantize_squares_kernel(const Arguments a, const Array<const X> src) {
  OverBlock<1, Largest> over_block(reinterpret_cast<float*>(shared_memory()));
  const int64_t of_row = (a.columns + kSide - 1) / kSide, tiles = (a.rows + kSide - 1) / kSide * of_row;
  for (int64_t tile = block_index(); tile < tiles; tile += block_count()) {
    const int64_t top = tile / of_row * kSide + thread_index() / kLanes, c = tile % of_row * kSide + thread_index() % kLanes * 16;
    auto left = [&](int64_t row) MHC_INLINE { return row < a.rows ? a.columns - c : 0; };
    Sixteen<X> in[kTimes];
    float most[1] = {0.0f};
#pragma unroll
    for (int k = 0; k < kTimes; ++k) {
      const int64_t row = top + k * kRowsAtOnce;
      in[k].load(src.at(row, c), left(row), a.aligned);
      most[0] = fmaxf(most[0], in[k].largest());
    }
    over_block.put(most);
    const float scale = fp8_scale_of(over_block.total(0), a.floor, a.power_of_two);
    if (thread_index() == 0) a.scale.put(tile / of_row, tile % of_row, scale);
#pragma unroll
    for (int k = 0; k < kTimes; ++k) {
      const int64_t row = top + k * kRowsAtOnce;
      in[k].quantize(scale, a.dst.at(row, c), left(row), a.dst_aligned);
    }
  }
}

}  // namespace

size_t fp8_quantize_space(const Fp8QuantizeProblem&, const DeviceProperties&) { return 0; }

void fp8_quantize(const Fp8QuantizeProblem& p, Job& job) {
  const Arguments a{p.rows, p.columns, p.scale_rounding == MHC_FP8_SCALE_POWER_OF_TWO, rows_aligned(p.src), rows_aligned(p.dst),
                    p.amax_floor, Array<uint8_t>(p.dst), ScaleTarget(p.scale)};
  const int64_t of_row = (p.columns + kSide - 1) / kSide, squares = (p.rows + kSide - 1) / kSide * of_row;
  with_row_type(p.src.type, [&](auto type) {
    using X = decltype(type);
    if (p.tile == MHC_FP8_TILE_1X128) {
      job.launch(share(p.rows * of_row * kLanes, job.device), quantize_rows_kernel<X>, a, Array<const X>(p.src));
    } else {
      Grid grid = share(squares * kThreads, job.device);
      grid.shared_bytes = OverBlock<1, Largest>::floats(kThreads) * sizeof(float);
      job.launch(grid, quantize_squares_kernel<X>, a, Array<const X>(p.src));
    }
  });
}

}  // namespace mhc::cuda
