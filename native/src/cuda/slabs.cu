// SPDX-License-Identifier: Apache-2.0
// 32 numbers to a block: each warp adds up an eighth of the slabs, then the eighths are added.
#include "cuda/slabs.h"

#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

constexpr int kLanes = 32, kWarps = kThreads / kLanes;

MHC_KERNEL(kThreads) sum_slabs_kernel(const float* parts, const int64_t step, const int64_t count, const int64_t numbers,
                                      const int64_t columns, const Array<float> out, const bool accumulate) {
  float* sums = reinterpret_cast<float*>(shared_memory());
  const int warp = thread_index() / kLanes, lane = thread_index() % kLanes;
  const int64_t share = (count + kWarps - 1) / kWarps, first = warp * share, last = first + share < count ? first + share : count;
  for (int64_t run = block_index() * kLanes; run < numbers; run += block_count() * kLanes) {
    const int64_t at = run + lane;
    float sum = 0.0f;
    if (at < numbers) {
#pragma unroll 8
      for (int64_t slab = first; slab < last; ++slab) sum = sum + load1(parts + slab * step + at);
    }
    sums[thread_index()] = sum;
    sync_block();
    if (warp == 0 && at < numbers) {
#pragma unroll
      for (int w = 1; w < kWarps; ++w) sum = sum + sums[w * kLanes + lane];
      float* to = out.at(at / columns) + at % columns;
      store1(to, accumulate ? load1(to) + sum : sum);
    }
    sync_block();
  }
}

}  // namespace

void sum_slabs(const float* parts, int64_t step, int64_t count, const View& out, bool accumulate, Job& job) {
  if (count == 0 && accumulate) return;
  const int64_t rows = out.rank == 1 ? 1 : out.shape[0], columns = out.shape[out.rank - 1];
  Grid grid = share(rows * columns * kWarps, job.device);
  grid.shared_bytes = kThreads * sizeof(float);
  job.launch(grid, sum_slabs_kernel, parts, step, count, rows * columns, columns, Array<float>(out), accumulate);
}

}  // namespace mhc::cuda
