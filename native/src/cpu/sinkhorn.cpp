// SPDX-License-Identifier: Apache-2.0
#include "cpu/kernels.h"
#include "cpu/sinkhorn_batch.h"

namespace mhc::cpu::MHC_TIER {
namespace {

size_t lane_vectors(const SinkhornProblem& p) {
  int n = static_cast<int>(p.size);
  return lane_entries(n) + sinkhorn_vectors(n);
}

void in_lanes(const SinkhornProblem& p, const Job& job) {
  const int n = static_cast<int>(p.size);
  for_token_blocks(job.pool, p.batch, kLaneGroups * W, [&](int worker, int64_t first, int64_t last) {
    F* matrix = reinterpret_cast<F*>(job.scratch(worker));
    for (int64_t b = first; b < last; b += W) {
      const int count = static_cast<int>(std::min<int64_t>(W, last - b));
      load_matrices(p.logits, b, count, n, matrix);
      sinkhorn_lanes(p.config, n, matrix, matrix + lane_entries(n));
      store_matrices(p.out, b, count, n, matrix, false);
    }
  });
}

}  // namespace

Space sinkhorn_space(const SinkhornProblem& p, int threads) {
  if (p.size <= kMaxLaneSize) return {lane_vectors(p) * sizeof(F), 0};
  return large_space(p.config, p.batch, p.size, threads, Direction::Forward);
}

void sinkhorn(const SinkhornProblem& p, const Job& job) {
  if (p.size <= kMaxLaneSize) return in_lanes(p, job);
  each_large_matrix(p.config, p.batch, p.size, job, Direction::Forward, [&](const LargeMatrix& matrix, int64_t b) {
    sinkhorn_large(matrix, matrix_of(p.logits, b), matrix_of(p.out, b));
  });
}

}  // namespace mhc::cpu::MHC_TIER
