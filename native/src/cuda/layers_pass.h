// SPDX-License-Identifier: Apache-2.0
// Several layers in one kernel, the residual of four streams on chip from the first to the last.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

// Whether the kernel is made for this: what the single pass wants, streams of 16 bits, at most 64 layers, and room for two tiles.
bool layers_pass_fits(const RecomputeProblem& p, const DeviceProperties& device);
size_t layers_pass_space(const RecomputeProblem& p, const DeviceProperties& device);
void run_layers_pass(const RecomputeProblem& p, Job& job);

}  // namespace mhc::cuda
