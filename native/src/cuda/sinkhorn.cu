// SPDX-License-Identifier: Apache-2.0
// Small matrices, up to 16 x 16: one to a thread, four by four in registers.
#include "lanes/sinkhorn.h"

#include "cuda/sinkhorn_large.h"

namespace mhc::cuda {
namespace {

template <int N>
MHC_KERNEL(kThreads) sinkhorn_kernel(const mhc_config config, const int64_t batch, const int size, const Array<const float> logits,
                                     const Array<float> out) {
  for_each_of(batch, [&](int64_t b) {
    const int n = N == kAnyStreams ? size : N;
    F matrix[kRoom<N> * kRoom<N>], scratch[N == kAnyStreams ? kMaxStreams * kMaxStreams : 1];
    repeat<N>(n, [&](auto i) MHC_INLINE { repeat<N>(n, [&](auto j) MHC_INLINE { matrix[i * n + j] = set(load1(logits.at(b, i, j))); }); });
    sinkhorn_lanes_of<N>(config, n, matrix, scratch);
    repeat<N>(n, [&](auto i) MHC_INLINE { repeat<N>(n, [&](auto j) MHC_INLINE { store1(out.at(b, i, j), matrix[i * n + j].v); }); });
  });
}

large::Large large_of(const SinkhornProblem& p) { return {p.config, p.batch, p.size, p.logits, {}, p.out, false}; }

}  // namespace

size_t sinkhorn_space(const SinkhornProblem& p, const DeviceProperties& device) {
  return p.size > kMaxStreams ? large::sinkhorn_large_space(large_of(p), device) : 0;
}

void sinkhorn(const SinkhornProblem& p, Job& job) {
  if (p.size > kMaxStreams) return large::sinkhorn_large(large_of(p), job);
  with_streams(static_cast<int>(p.size), [&](auto n) {
    job.launch(share(p.batch, job.device), sinkhorn_kernel<n>, p.config, p.batch, static_cast<int>(p.size),
               Array<const float>(p.logits), Array<float>(p.out));
  });
}

}  // namespace mhc::cuda
