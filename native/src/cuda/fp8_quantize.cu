// SPDX-License-Identifier: Apache-2.0
#include "cuda/fp8.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t rows, columns;
  bool power_of_two;
  float floor;
  Array<uint8_t> dst;
  ScaleTarget scale;
};

constexpr int kSide = 128, kWarps = kThreads / 32;

template <class X>
MHC_FN float magnitude_of(const Array<const X>& src, int64_t row, int64_t column) {
  return counted_magnitude(widened(load1(src.at(row, column))));
}

MHC_FN float largest_of_warp(float v) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) v = fmaxf(v, shuffle_xor(v, mask));
  return v;
}

// 1x128: a tile to a warp.
template <class X>
MHC_KERNEL(kThreads) quantize_rows_kernel(const Arguments a, const Array<const X> src) {
  const int lane = thread_index() % 32;
  const int64_t of_row = (a.columns + kSide - 1) / kSide;
  for (int64_t tile = block_index() * kWarps + thread_index() / 32; tile < a.rows * of_row; tile += block_count() * kWarps) {
    const int64_t row = tile / of_row, first = tile % of_row * kSide, last = first + kSide < a.columns ? first + kSide : a.columns;
    float most = 0.0f;
    for (int64_t c = first + lane; c < last; c += 32) most = fmaxf(most, magnitude_of(src, row, c));
    const float scale = fp8_scale_of(largest_of_warp(most), a.floor, a.power_of_two);
    if (lane == 0) a.scale.put(row, tile % of_row, scale);
    for (int64_t c = first + lane; c < last; c += 32) {
      store1(a.dst.at(row, c), e4m3_of_quotient(widened(load1(src.at(row, c))), scale).bits);
    }
  }
}

// 128x128: a tile to a block.
template <class X>
MHC_KERNEL(kThreads) quantize_squares_kernel(const Arguments a, const Array<const X> src) {
  float* most_of_warp = reinterpret_cast<float*>(shared_memory());
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  const int64_t of_row = (a.columns + kSide - 1) / kSide, tiles = (a.rows + kSide - 1) / kSide * of_row;
  for (int64_t tile = block_index(); tile < tiles; tile += block_count()) {
    const int64_t top = tile / of_row * kSide, first = tile % of_row * kSide;
    const int64_t bottom = top + kSide < a.rows ? top + kSide : a.rows, last = first + kSide < a.columns ? first + kSide : a.columns;
    float most = 0.0f;
    for (int64_t row = top + warp; row < bottom; row += kWarps) {
      for (int64_t c = first + lane; c < last; c += 32) most = fmaxf(most, magnitude_of(src, row, c));
    }
    most = largest_of_warp(most);
    if (lane == 0) most_of_warp[warp] = most;
    sync_block();
    for (int w = 0; w < kWarps; ++w) most = fmaxf(most, most_of_warp[w]);
    const float scale = fp8_scale_of(most, a.floor, a.power_of_two);
    if (thread_index() == 0) a.scale.put(tile / of_row, tile % of_row, scale);
    for (int64_t row = top + warp; row < bottom; row += kWarps) {
      for (int64_t c = first + lane; c < last; c += 32) {
        store1(a.dst.at(row, c), e4m3_of_quotient(widened(load1(src.at(row, c))), scale).bits);
      }
    }
    sync_block();
  }
}

}  // namespace

size_t fp8_quantize_space(const Fp8QuantizeProblem&, const DeviceProperties&) { return 0; }

void fp8_quantize(const Fp8QuantizeProblem& p, Job& job) {
  const Arguments a{p.rows, p.columns, p.scale_rounding == MHC_FP8_SCALE_POWER_OF_TWO, p.amax_floor, Array<uint8_t>(p.dst),
                    ScaleTarget(p.scale)};
  const int64_t of_row = (p.columns + kSide - 1) / kSide, squares = (p.rows + kSide - 1) / kSide * of_row;
  with_row_type(p.src.type, [&](auto type) {
    using X = decltype(type);
    if (p.tile == MHC_FP8_TILE_1X128) {
      job.launch(share(p.rows * of_row * 32, job.device), quantize_rows_kernel<X>, a, Array<const X>(p.src));
    } else {
      Grid grid = share(squares * kThreads, job.device);
      grid.shared_bytes = kWarps * sizeof(float);
      job.launch(grid, quantize_squares_kernel<X>, a, Array<const X>(p.src));
    }
  });
}

}  // namespace mhc::cuda
