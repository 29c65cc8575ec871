// SPDX-License-Identifier: Apache-2.0
#include "cuda/fp8.h"
#include "cuda/layer_output.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t rows, columns, rows_of_tile;
  Array<const uint8_t> src;
  ScaleSource scale;
  bool aligned, dst_aligned;
};

template <class X>
MHC_KERNEL(kThreads) dequantize_kernel(const Arguments a, const Array<X> dst) {
  const int64_t of_row = (a.columns + 15) / 16;
  for_each_of(a.rows * of_row, [&](int64_t index) {
    const int64_t row = index / of_row, c = index % of_row * 16, left = a.columns - c;
    const float scale = a.scale.at(row / a.rows_of_tile, c / 128);
    const Bits16 bytes = load_bytes(a.src.at(row, c), left, a.aligned);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = from_e4m3(bytes.word[2 * half + e / 4] >> e % 4 * 8) * scale;
      }
      store_values(dst.at(row, c) + half * kPiece, out, left - half * kPiece, a.dst_aligned);
    }
  });
}

}  // namespace

size_t fp8_dequantize_space(const Fp8DequantizeProblem&, const DeviceProperties&) { return 0; }

void fp8_dequantize(const Fp8DequantizeProblem& p, Job& job) {
  const Arguments a{p.rows, p.columns, p.tile == MHC_FP8_TILE_1X128 ? 1 : 128, Array<const uint8_t>(p.src), ScaleSource(p.scale),
                    rows_aligned(p.src), rows_aligned(p.dst)};
  with_row_type(p.dst.type, [&](auto type) {
    using X = decltype(type);
    job.launch(share(p.rows * ((p.columns + 15) / 16), job.device), dequantize_kernel<X>, a, Array<X>(p.dst));
  });
}

}  // namespace mhc::cuda
