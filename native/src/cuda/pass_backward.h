// SPDX-License-Identifier: Apache-2.0
// The backward of a boundary, or (with neither f nor d_h) of its coefficients alone. Names, per token: next is x_{l+1},
// rebuilt from x and f; D its gradient; dh the gradient of h, before RMSNorm where there is one.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

// In one pass over the rows, for four streams on a device that is large enough for the width.
bool pass_backward_fits(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
size_t pass_backward_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void run_pass_backward(const BoundaryBackwardProblem& problem, Job& job);

// Whatever the number of streams: a token to a block, which reads its rows twice, and the gradients of the weights after it.
size_t backward_in_steps_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void backward_in_steps(const BoundaryBackwardProblem& problem, Job& job);

// Whichever of the two.
size_t any_backward_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void any_backward(const BoundaryBackwardProblem& problem, Job& job);

}  // namespace mhc::cuda
