// SPDX-License-Identifier: Apache-2.0
#include "cpu/rmsnorm.h"

#include "core/arguments.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {

Space rmsnorm_space(const RmsnormProblem& p, int) {
  return {static_cast<size_t>((p.sizes.width + W - 1) / W * W) * size_of(p.x.type), 0};
}

void rmsnorm(const RmsnormProblem& p, const Job& job) {
  const float* weight = p.weight ? p.weight.at<float>() : nullptr;
  with_row_type(p.x.type, [&](auto tag) {
    using H = typename decltype(tag)::type;
    for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int worker, int64_t first, int64_t last) {
      H* kept = reinterpret_cast<H*>(job.scratch(worker));
      for (int64_t t = first; t < last; ++t) {
        float inv_rms = rmsnorm_row(p.x.at<H>(t), weight, p.eps, p.y.at<H>(t), p.sizes.width, kept);
        if (p.inv_rms) store1(p.inv_rms.at<float>(t), inv_rms);
      }
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
