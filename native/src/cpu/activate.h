// SPDX-License-Identifier: Apache-2.0
// From mix (x . projection^T / r) to the coefficients of W tokens at once, a token a lane, and back.
#pragma once

#include "cpu/vec.h"
#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

// Vectors of scratch that the two functions below want.
size_t activate_scratch(const mhc_config& config);
size_t activate_backward_scratch(const mhc_config& config);

// mix[m], pre[n], post[n], res[n*n] (as stored). scale[3] and bias[m] as in mhc_parameters. With config.is_static mix is
// not read, in MHC_MODE_RESIDUAL neither are scale and bias.
void activate(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre, F* post, F* res,
              F* scratch);

// d_pre[n], d_post[n], d_res[n*n] -> d_logit[m] (the gradient of bias, a token a lane), d_mix[m] and d_scale[3] (lane by
// lane; neither is written when config.is_static). Nothing is written in MHC_MODE_RESIDUAL.
void activate_backward(const mhc_config& config, const float* scale, const float* bias, const F* mix, const F* d_pre,
                       const F* d_post, const F* d_res, F* d_logit, F* d_mix, F* d_scale, F* scratch);

}  // namespace mhc::cpu::MHC_TIER
