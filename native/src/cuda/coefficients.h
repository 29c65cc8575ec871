// SPDX-License-Identifier: Apache-2.0
// Coefficients in two steps, for every mode and number of streams: the product, then the rest of it, a token to a thread.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

size_t coefficients_in_steps_space(const Sizes& sizes, const mhc_config& config);
void coefficients_in_steps(const Sizes& sizes, const mhc_config& config, const ParameterViews& parameters, const View& x,
                           const CoefficientViews& out, char* workspace, Job& job);

}  // namespace mhc::cuda
