// SPDX-License-Identifier: Apache-2.0
// 1/r of a row, by the config's place for eps; and what its derivative brings to the row.
#pragma once

#include <cmath>

#include "lanes/target.h"
#include "mhc/mhc.h"

namespace MHC_LANES {

MHC_HOST_DEVICE inline float inv_rms_of(float sum_of_squares, int64_t count, int32_t rms_eps_mode, float eps) {
  float mean = sum_of_squares / static_cast<float>(count);
  return rms_eps_mode == MHC_RMS_EPS_INSIDE ? 1.0f / sqrtf(mean + eps) : 1.0f / (sqrtf(mean) + eps);
}

// What the gradient of a row gets of the row itself through r: -<d_mix, mix> times the derivative of log r. along is
// <d_mix, mix>.
MHC_FN F through_rms(F along, F inv_rms, int64_t count, int32_t rms_eps_mode, float eps) {
  F elements = set(static_cast<float>(count));
  if (rms_eps_mode == MHC_RMS_EPS_INSIDE) return zero() - along * inv_rms * inv_rms / elements;
  F root = set(1.0f) / inv_rms - set(eps);  // of the mean square
  return select_less(zero(), root, zero() - along * inv_rms / (elements * root), zero());
}

}  // namespace MHC_LANES
