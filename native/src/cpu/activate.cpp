// SPDX-License-Identifier: Apache-2.0
#include "cpu/activate.h"

#include "cpu/dispatch.h"
#include "lanes/activate.h"

namespace mhc::cpu::MHC_TIER {

// Compiled in sinkhorn_lanes.cpp.
extern template void sinkhorn_lanes_of<4>(const mhc_config&, int, F*, F*);
extern template void sinkhorn_lanes_of<kAnyStreams>(const mhc_config&, int, F*, F*);
extern template void sinkhorn_lanes_backward_of<4>(const mhc_config&, int, const F*, F*, F*);
extern template void sinkhorn_lanes_backward_of<kAnyStreams>(const mhc_config&, int, const F*, F*, F*);

size_t activate_vectors(const mhc_config& config) { return activate_scratch(config); }
size_t activate_backward_vectors(const mhc_config& config) { return activate_backward_scratch(config); }

void activate(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre, F* post, F* res,
              F* scratch) {
  with_streams(config.streams, [&](auto n) { activate_of<n>(config, scale, bias, mix, pre, post, res, scratch); });
}

void activate_pre(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre) {
  with_streams(config.streams, [&](auto n) { activate_pre_of<n>(config, scale, bias, mix, pre); });
}

void activate_backward(const mhc_config& config, const float* scale, const float* bias, const F* mix, const F* d_pre,
                       const F* d_post, const F* d_res, F* d_logit, F* d_mix, F* d_scale, F* scratch) {
  with_streams(config.mode == MHC_MODE_MHC_LITE ? kAnyStreams : config.streams, [&](auto n) {
    activate_backward_pre_of<n>(config, scale, bias, mix, d_pre, d_logit, d_mix, d_scale);
    activate_backward_post_res_of<n>(config, scale, bias, mix, d_post, d_res, d_logit, d_mix, d_scale, scratch);
  });
}

}  // namespace mhc::cpu::MHC_TIER
