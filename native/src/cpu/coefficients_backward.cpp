// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"
#include "cpu/pass_backward.h"

namespace mhc::cpu::MHC_TIER {

Space coefficients_backward_space(const CoefficientsBackwardProblem& p, int threads) {
  return pass_backward_space(as_boundary(p), threads);
}

void coefficients_backward(const CoefficientsBackwardProblem& p, const Job& job) {
  run_pass_backward(as_boundary(p), job);
}

}  // namespace mhc::cpu::MHC_TIER
