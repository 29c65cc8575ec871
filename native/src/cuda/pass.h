// SPDX-License-Identifier: Apache-2.0
// The single pass over a residual of four streams: post, the scan for the next coefficients, those coefficients, and the
// input of F, with the rows on chip from the first step to the last.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

// What a pass may do; views that are not given are not wanted.
struct Pass {
  const Sizes& sizes;
  const mhc_config& config;
  const ParameterViews& parameters;
  View x, f, f_scale, post_mix, res_mix, x_next, shifted_pre_mix;
  CoefficientViews out;
  View h, norm_weight, y, h_fp8, h_scale;
  float norm_eps;
  int32_t fp8_scale_rounding;
  DType layer_type;
};

// Whether the kernel is made for this: four streams, MHC_MODE_MHC, dynamic, and a device large enough for the width.
bool pass_fits(const Sizes& sizes, const mhc_config& config, const DeviceProperties& device);
size_t pass_space(const Sizes& sizes, const DeviceProperties& device);
void run_pass(const Pass& pass, Job& job);

}  // namespace mhc::cuda
