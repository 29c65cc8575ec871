// SPDX-License-Identifier: Apache-2.0
// Small matrices, up to 16 x 16: one to a thread, which keeps what the walk back wants in its part of the workspace.
#include "cuda/sinkhorn_large.h"
#include "lanes/sinkhorn.h"

namespace mhc::cuda {
namespace {

template <int N>
MHC_KERNEL(kThreads) sinkhorn_backward_kernel(const mhc_config config, const int64_t batch, const int size, const bool accumulate,
                                              const Array<const float> logits, const Array<const float> d_out,
                                              const Array<float> d_logits, float* workspace, const int64_t scratch_of_thread) {
  F* scratch = reinterpret_cast<F*>(workspace) + (block_index() * block_threads() + thread_index()) * scratch_of_thread;
  for_each_of(batch, [&](int64_t b) {
    const int n = N == kAnyStreams ? size : N;
    F matrix[kRoom<N> * kRoom<N>], d[kRoom<N> * kRoom<N>];
    auto each = [&](const auto& body) MHC_INLINE {
      repeat<N>(n, [&](auto i) MHC_INLINE { repeat<N>(n, [&](auto j) MHC_INLINE { body(i, j); }); });
    };
    each([&](auto i, auto j) MHC_INLINE {
      matrix[i * n + j] = set(load1(logits.at(b, i, j)));
      d[i * n + j] = set(load1(d_out.at(b, i, j)));
    });
    sinkhorn_lanes_backward_of<N>(config, n, matrix, d, scratch);
    each([&](auto i, auto j) MHC_INLINE {
      float* to = d_logits.at(b, i, j);
      store1(to, accumulate ? load1(to) + d[i * n + j].v : d[i * n + j].v);
    });
  });
}

int64_t scratch_of_thread(const SinkhornBackwardProblem& p) {
  return static_cast<int64_t>(sinkhorn_lanes_backward_scratch(p.config, static_cast<int>(p.size)));
}

large::Large large_of(const SinkhornBackwardProblem& p) {
  return {p.config, p.batch, p.size, p.logits, p.d_out, p.d_logits, p.accumulate_inputs};
}

}  // namespace

size_t sinkhorn_backward_space(const SinkhornBackwardProblem& p, const DeviceProperties& device) {
  if (p.size > kMaxStreams) return large::sinkhorn_large_backward_space(large_of(p), device);
  const Grid grid = share(p.batch, device);
  return static_cast<size_t>(grid.blocks * grid.threads * scratch_of_thread(p)) * sizeof(float);
}

void sinkhorn_backward(const SinkhornBackwardProblem& p, Job& job) {
  if (p.size > kMaxStreams) return large::sinkhorn_large_backward(large_of(p), job);
  with_streams(static_cast<int>(p.size), [&](auto n) {
    job.launch(share(p.batch, job.device), sinkhorn_backward_kernel<n>, p.config, p.batch, static_cast<int>(p.size),
               p.accumulate_inputs, Array<const float>(p.logits), Array<const float>(p.d_out), Array<float>(p.d_logits),
               reinterpret_cast<float*>(job.workspace), scratch_of_thread(p));
  });
}

}  // namespace mhc::cuda
