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

}  // namespace MHC_LANES
