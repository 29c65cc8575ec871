// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"
#include "cpu/sinkhorn_batch.h"

namespace mhc::cpu::MHC_TIER {
namespace {

size_t lane_vectors(const SinkhornBackwardProblem& p) {
  int n = static_cast<int>(p.size);
  return 2 * lane_entries(n) + sinkhorn_backward_vectors(p.config, n);
}

void in_lanes(const SinkhornBackwardProblem& p, const Job& job) {
  const int n = static_cast<int>(p.size);
  for_token_blocks(job.pool, p.batch, kLaneGroups * W, [&](int worker, int64_t first, int64_t last) {
    F* logits = reinterpret_cast<F*>(job.scratch(worker));
    F* d_matrix = logits + lane_entries(n);
    for (int64_t b = first; b < last; b += W) {
      const int count = static_cast<int>(std::min<int64_t>(W, last - b));
      load_matrices(p.logits, b, count, n, logits);
      load_matrices(p.d_out, b, count, n, d_matrix);
      sinkhorn_lanes_backward(p.config, n, logits, d_matrix, d_matrix + lane_entries(n));
      store_matrices(p.d_logits, b, count, n, d_matrix, p.accumulate_inputs);
    }
  });
}

Direction direction_of(const SinkhornBackwardProblem& p) {
  return p.accumulate_inputs ? Direction::BackwardAdding : Direction::Backward;
}

}  // namespace

Space sinkhorn_backward_space(const SinkhornBackwardProblem& p, int threads) {
  if (p.size <= kMaxLaneSize) return {lane_vectors(p) * sizeof(F), 0};
  return large_space(p.config, p.batch, p.size, threads, direction_of(p));
}

void sinkhorn_backward(const SinkhornBackwardProblem& p, const Job& job) {
  if (p.size <= kMaxLaneSize) return in_lanes(p, job);
  each_large_matrix(p.config, p.batch, p.size, job, direction_of(p), [&](const LargeMatrix& matrix, int64_t b) {
    sinkhorn_large_backward(matrix, matrix_of(p.logits, b), matrix_of(p.d_out, b), matrix_of(p.d_logits, b),
                            p.accumulate_inputs);
  });
}

}  // namespace mhc::cpu::MHC_TIER
