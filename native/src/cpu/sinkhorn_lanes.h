// SPDX-License-Identifier: Apache-2.0
// Alternating normalisation of W small matrices at once, a matrix a lane, and back: lanes/sinkhorn.h, compiled once.
#pragma once

#include "cpu/vec.h"
#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

constexpr int kMaxLaneSize = 16;

// Vectors of scratch that the two functions below want for n x n matrices, n <= kMaxLaneSize.
size_t sinkhorn_vectors(int n);
size_t sinkhorn_backward_vectors(const mhc_config& config, int n);

// matrix[n*n]: the logits, row by row, become the result.
void sinkhorn_lanes(const mhc_config& config, int n, F* matrix, F* scratch);
// d_matrix[n*n]: the gradient of the result becomes that of the logits.
void sinkhorn_lanes_backward(const mhc_config& config, int n, const F* logits, F* d_matrix, F* scratch);

}  // namespace mhc::cpu::MHC_TIER
