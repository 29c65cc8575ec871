// SPDX-License-Identifier: Apache-2.0
#include "cuda/pass_backward.h"

namespace mhc::cuda {

size_t any_backward_space(const BoundaryBackwardProblem& p, const DeviceProperties& device) {
  return pass_backward_fits(p, device) ? pass_backward_space(p, device) : backward_in_steps_space(p, device);
}

void any_backward(const BoundaryBackwardProblem& p, Job& job) {
  if (p.sizes.tokens == 0 && p.accumulate_parameters) return;
  pass_backward_fits(p, job.device) ? run_pass_backward(p, job) : backward_in_steps(p, job);
}

size_t boundary_backward_space(const BoundaryBackwardProblem& p, const DeviceProperties& device) { return any_backward_space(p, device); }
void boundary_backward(const BoundaryBackwardProblem& p, Job& job) { any_backward(p, job); }

}  // namespace mhc::cuda
