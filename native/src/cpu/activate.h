// SPDX-License-Identifier: Apache-2.0
// From mix (x . projection^T / r) to the coefficients of W tokens at once, a token a lane, and back: lanes/activate.h,
// compiled once.
#pragma once

#include "cpu/vec.h"
#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

// Vectors of scratch that activate and activate_backward want.
size_t activate_vectors(const mhc_config& config);
size_t activate_backward_vectors(const mhc_config& config);

void activate(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre, F* post, F* res,
              F* scratch);
void activate_pre(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre);
void activate_backward(const mhc_config& config, const float* scale, const float* bias, const F* mix, const F* d_pre,
                       const F* d_post, const F* d_res, F* d_logit, F* d_mix, F* d_scale, F* scratch);

}  // namespace mhc::cpu::MHC_TIER
