// SPDX-License-Identifier: Apache-2.0
// A pass that enters without a post and leaves nothing but coefficients.
#include "cpu/kernels.h"
#include "cpu/pass.h"

namespace mhc::cpu::MHC_TIER {

Space coefficients_space(const CoefficientsProblem& p, int threads) {
  return pass_space(p.sizes, p.config, p.parameters, p.x.type, threads);
}

void coefficients(const CoefficientsProblem& p, const Job& job) {
  Entry entry{p.x, {}, {}, {}, {}, p.config.orientation, {}, false};
  run_pass({p.sizes, p.config, p.parameters, entry, {}, p.out, nullptr}, p.x.type, job);
}

}  // namespace mhc::cpu::MHC_TIER
