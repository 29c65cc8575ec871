// SPDX-License-Identifier: Apache-2.0
// The backward of a boundary with neither a post nor a layer.
#include "cpu/kernels.h"
#include "cpu/pass_backward.h"

namespace mhc::cpu::MHC_TIER {
namespace {

BoundaryBackwardProblem as_boundary(const CoefficientsBackwardProblem& p) {
  BoundaryBackwardProblem b{};
  b.sizes = p.sizes;
  b.config = p.config;
  b.parameters = p.parameters;
  b.accumulate_inputs = p.accumulate_inputs;
  b.accumulate_parameters = p.accumulate_parameters;
  b.x = p.x;
  b.mix = p.mix;
  b.inv_rms = p.inv_rms;
  b.d_pre_mix_next = p.d_pre_mix;
  b.d_post_mix_next = p.d_post_mix;
  b.d_res_mix_next = p.d_res_mix;
  b.d_x = p.d_x;
  b.d_parameters = p.d_parameters;
  return b;
}

}  // namespace

Space coefficients_backward_space(const CoefficientsBackwardProblem& p, int threads) {
  return pass_backward_space(as_boundary(p), threads);
}

void coefficients_backward(const CoefficientsBackwardProblem& p, const Job& job) {
  run_pass_backward(as_boundary(p), job);
}

}  // namespace mhc::cpu::MHC_TIER
