// SPDX-License-Identifier: Apache-2.0
// 1/r of a row, by the config's place for eps.
#pragma once

#include <cmath>

#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

inline float inv_rms_of(float sum_of_squares, int64_t count, int32_t rms_eps_mode, float eps) {
  float mean = sum_of_squares / static_cast<float>(count);
  return rms_eps_mode == MHC_RMS_EPS_INSIDE ? 1.0f / std::sqrt(mean + eps) : 1.0f / (std::sqrt(mean) + eps);
}

}  // namespace mhc::cpu::MHC_TIER
