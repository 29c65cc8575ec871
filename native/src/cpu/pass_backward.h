// SPDX-License-Identifier: Apache-2.0
// The backward of a boundary, or of its coefficients alone, in one pass over a block of tokens at a time.
//
// Names, per token: next is x_{l+1}, rebuilt from x and f; D its gradient; dh the gradient of h. The gradient of the
// coefficients' product needs d_mix, which needs sums over whole rows first, so a block is met twice. First its rows are
// brought to scratch one after the other, and a scan makes next of them, and the sums. Then chunk after chunk of channels
// of all its tokens goes through
//   layer      dh, through RMSNorm where there is one
//   product    d_mix . projection
//   leave      D, and from it d_x, d_f, and the dot products of d_post_mix and d_res_mix
//   product    d_mix^T . next, to the gradient of the projection
// Each element of x, f, d_h and d_x_next is read from memory once, and each of d_x and d_f written once.
//
// Gradients of parameters: the tokens are cut into slabs by their number alone; each slab sums in order into a part of
// its own, and the parts are added in order.
#pragma once

#include "core/operations.h"
#include "cpu/tiers.h"

namespace mhc::cpu::MHC_TIER {

// Without d_h there is no layer: the problem is that of the coefficients alone, d_x optional, and d_pre_mix_next is read
// whether config.shifted or not.
Space pass_backward_space(const BoundaryBackwardProblem& problem, int threads);
void run_pass_backward(const BoundaryBackwardProblem& problem, const Job& job);

}  // namespace mhc::cpu::MHC_TIER
