// SPDX-License-Identifier: Apache-2.0
// mix = x . projection^T / r for any number of streams and outputs, where the single pass is not made for them.
#pragma once

#include "cuda/rows.h"
#include "lanes/rms.h"

namespace mhc::cuda {

// norm, where given, multiplies x in the product. inv_rms need not be wanted.
void project(const Sizes& sizes, const mhc_config& config, int64_t outputs, const View& projection, const View& norm, const View& x,
             const Array<float>& mix, const View& inv_rms, Job& job);

}  // namespace mhc::cuda
