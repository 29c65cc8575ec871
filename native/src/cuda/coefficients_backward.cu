// SPDX-License-Identifier: Apache-2.0
#include "cuda/pass_backward.h"

namespace mhc::cuda {

size_t coefficients_backward_space(const CoefficientsBackwardProblem& p, const DeviceProperties& device) {
  return any_backward_space(as_boundary(p), device);
}
void coefficients_backward(const CoefficientsBackwardProblem& p, Job& job) { any_backward(as_boundary(p), job); }

}  // namespace mhc::cuda
