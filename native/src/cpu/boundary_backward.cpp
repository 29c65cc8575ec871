// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"
#include "cpu/pass_backward.h"

namespace mhc::cpu::MHC_TIER {

Space boundary_backward_space(const BoundaryBackwardProblem& p, int threads) { return pass_backward_space(p, threads); }

void boundary_backward(const BoundaryBackwardProblem& p, const Job& job) { run_pass_backward(p, job); }

}  // namespace mhc::cpu::MHC_TIER
