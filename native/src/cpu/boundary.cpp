// SPDX-License-Identifier: Apache-2.0
// The boundary in one pass: enter with a post, leave with a pre.
#include "cpu/kernels.h"
#include "cpu/pass.h"

namespace mhc::cpu::MHC_TIER {

Space boundary_space(const BoundaryProblem& p, int threads) {
  return pass_space(p.sizes, p.config, p.parameters, p.x.type, threads);
}

void boundary(const BoundaryProblem& p, const Job& job) {
  Exit exit{p.h, p.norm_weight, p.y, p.h_fp8, p.h_scale, p.norm_eps, p.fp8_scale_rounding};
  Entry entry{p.x, p.f, p.f_scale, p.post_mix, p.res_mix, p.config.orientation, p.x_next, larger_than_caches(p.x_next)};
  run_pass({p.sizes, p.config, p.parameters, entry, p.shifted_pre_mix, p.next, &exit}, p.layer_type, job);
}

}  // namespace mhc::cpu::MHC_TIER
