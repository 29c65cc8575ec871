// SPDX-License-Identifier: Apache-2.0
#include "cpu/sinkhorn_lanes.h"

#include "cpu/dispatch.h"
#include "lanes/sinkhorn.h"

namespace mhc::cpu::MHC_TIER {

template void sinkhorn_lanes_of<4>(const mhc_config&, int, F*, F*);
template void sinkhorn_lanes_of<kAnyStreams>(const mhc_config&, int, F*, F*);
template void sinkhorn_lanes_backward_of<4>(const mhc_config&, int, const F*, F*, F*);
template void sinkhorn_lanes_backward_of<kAnyStreams>(const mhc_config&, int, const F*, F*, F*);

size_t sinkhorn_vectors(int n) { return sinkhorn_lanes_scratch(n); }
size_t sinkhorn_backward_vectors(const mhc_config& config, int n) { return sinkhorn_lanes_backward_scratch(config, n); }

void sinkhorn_lanes(const mhc_config& config, int n, F* matrix, F* scratch) {
  with_streams(n, [&](auto streams) { sinkhorn_lanes_of<streams>(config, n, matrix, scratch); });
}

void sinkhorn_lanes_backward(const mhc_config& config, int n, const F* logits, F* d_matrix, F* scratch) {
  with_streams(n, [&](auto streams) { sinkhorn_lanes_backward_of<streams>(config, n, logits, d_matrix, scratch); });
}

}  // namespace mhc::cpu::MHC_TIER
