// SPDX-License-Identifier: Apache-2.0
// The gradients of the projection and of the two RMSNorm weights: parts of them, each the sum over some tokens, are added
// up in order.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

struct WeightParts {
  int count;       // parts
  int64_t pitch;   // of a stream's channels in a part
  float* projection;  // [count][m][n][pitch], nullptr where it is not wanted
  float* norm;        // [count][pitch], of the weight that normalises h; nullptr where it is not wanted
};

inline bool wants_projection(const BoundaryBackwardProblem& p) {
  return p.config.mode != MHC_MODE_RESIDUAL && !p.config.is_static && (p.d_parameters.projection || p.d_parameters.norm_weight);
}
void sum_weight_gradients(const BoundaryBackwardProblem& problem, const WeightParts& parts, Job& job);

}  // namespace mhc::cuda
