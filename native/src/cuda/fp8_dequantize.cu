// SPDX-License-Identifier: Apache-2.0
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t rows, columns, rows_of_tile;
  Array<const uint8_t> src;
  Array<const char> scale;  // bytes or floats
  bool e8m0;
};

template <class X>
MHC_KERNEL(kThreads) dequantize_kernel(const Arguments a, const Array<X> dst) {
  for_each_of(a.rows * a.columns, [&](int64_t index) {
    const int64_t row = index / a.columns, c = index % a.columns, i = row / a.rows_of_tile, j = c / 128;
    const int64_t at = i * a.scale.stride[0] + j * a.scale.stride[1];
    float scale;
    if (a.e8m0) {
      scale = e8m0_to_float(load1(reinterpret_cast<const uint8_t*>(a.scale.data) + at));
    } else {
      scale = load1(reinterpret_cast<const float*>(a.scale.data) + at);
    }
    X out;
    narrowed(to_float(e4m3{load1(a.src.at(row, c))}) * scale, out);
    store1(dst.at(row, c), out);
  });
}

}  // namespace

size_t fp8_dequantize_space(const Fp8DequantizeProblem&, const DeviceProperties&) { return 0; }

void fp8_dequantize(const Fp8DequantizeProblem& p, Job& job) {
  const Arguments a{p.rows, p.columns, p.tile == MHC_FP8_TILE_1X128 ? 1 : 128, Array<const uint8_t>(p.src), Array<const char>(p.scale),
                    p.scale.type == DType::E8M0};
  with_row_type(p.dst.type, [&](auto type) {
    using X = decltype(type);
    job.launch(share(p.rows * p.columns, job.device), dequantize_kernel<X>, a, Array<X>(p.dst));
  });
}

}  // namespace mhc::cuda
