// SPDX-License-Identifier: Apache-2.0
// The scale of an FP8 tile from its largest magnitude.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// Infinities and NaNs do not count.
MHC_FN float counted_magnitude(float v) {
  float magnitude = fabsf(v);
  return magnitude <= 3.4028234e38f ? magnitude : 0.0f;
}

// max(amax, floor) / 448, at least 2^-126; with power_of_two the next one at or above.
MHC_FN float fp8_scale_of(float amax, float floor, bool power_of_two) {
  float scale = (amax > floor ? amax : floor) / 448.0f;
  scale = scale > 0x1p-126f ? scale : 0x1p-126f;
  if (!power_of_two) return scale;
  uint32_t bits = bits_from_float(scale);
  return float_from_bits((bits + 0x7fffffu) & 0x7f800000u);
}

// Where scales go: fp32, or the exponent byte of E8M0.
struct ScaleTarget {
  char* data = nullptr;
  int64_t stride[2] = {};
  bool e8m0 = false;

  ScaleTarget() = default;
  explicit ScaleTarget(const View& view)
      : data(view.given ? view.data : nullptr), stride{view.stride[0], view.stride[1]}, e8m0(view.type == DType::E8M0) {}
  MHC_FN void put(int64_t row, int64_t column, float scale) const {
    int64_t at = row * stride[0] + column * stride[1];
    if (e8m0) {
      store1(reinterpret_cast<uint8_t*>(data) + at, static_cast<uint8_t>(bits_from_float(scale) >> 23));
    } else {
      store1(reinterpret_cast<float*>(data) + at, scale);
    }
  }
};

}  // namespace mhc::cuda
