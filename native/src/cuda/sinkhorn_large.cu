// SPDX-License-Identifier: Apache-2.0
#include "cuda/sinkhorn_large.h"

#include <algorithm>

namespace mhc::cuda::large {
namespace {

constexpr int64_t kWhole = 128;                  // up to this size a matrix is one block's, and K lies in shared memory
constexpr int64_t kMostBands = 128;
constexpr int64_t kInCache = int64_t{32} << 20;  // bytes of K that are worked on at a time, if that is more than one

int threads_of(int64_t k) { return k <= 64 ? 64 : k <= 128 ? 128 : k <= 512 ? 256 : kMostThreads; }

MHC_KERNEL(kMostThreads) sinkhorn_large_kernel(MHC_CONSTANT Arguments a) {
  Team team(a.blocks, a.counters);
  Alternation alternation(a, team, false);
  const int64_t teams = block_count() / a.blocks;
  for (int64_t b = team.index(); b < a.batch; b += teams) {
    alternation.run(b);
    alternation.finish();
    team.meet();
  }
  team.leave();
}

}  // namespace

Shape::Shape(const Large& large, bool backward, const DeviceProperties& device)
    : a{large.batch, LargePlan(large.config, large.size), 0, 0, 0, 0, false, false, large.accumulate, Array<const float>(large.logits),
        Array<const float>(large.d_out), Array<float>(large.out), nullptr, 0, nullptr},
      grid{} {
  const int64_t k = large.size;
  a.pitch = (k + 31) / 32 * 32;
  const bool whole = k <= kWhole;
  const int64_t rows = (k + kMostBands - 1) / kMostBands;
  a.band = whole ? k : (rows + kGroup - 1) / kGroup * kGroup;
  a.bands = (k + a.band - 1) / a.band;

  const int64_t multiprocessors = device.multiprocessors;
  const int64_t at_once = whole ? 8 * multiprocessors : std::clamp<int64_t>(kInCache / (4 * k * k), 1, multiprocessors);
  teams = std::min(large.batch, at_once);
  a.blocks = whole || teams == 0 ? 1 : static_cast<int>(std::clamp<int64_t>(multiprocessors / teams, 1, a.bands));

  const int64_t columns = kOfColumns * a.pitch;
  auto fits = [&](int64_t floats) { return static_cast<size_t>(kFixedFloats + floats) * sizeof(float) <= device.shared_bytes; };
  a.columns_shared = fits(columns);
  a.k_shared = whole && fits(columns + k * a.pitch);
  const int64_t shared = kFixedFloats + (a.columns_shared ? columns : 0) + (a.k_shared ? k * a.pitch : 0);
  int64_t of_team = 5 + a.bands + (2 * a.plan.count() + a.pitch - 1) / a.pitch;
  if (backward) of_team += kOfIteration * a.plan.count() + 3 + (a.k_shared ? 0 : k);
  if (!a.columns_shared) of_team += kOfColumns * a.blocks;
  a.workspace_step = of_team * a.pitch;
  grid = {teams * a.blocks, threads_of(k), static_cast<size_t>(shared) * sizeof(float), a.blocks > 1};
}

size_t sinkhorn_large_space(const Large& large, const DeviceProperties& device) { return Shape(large, false, device).bytes(); }

void sinkhorn_large(const Large& large, Job& job) {
  Shape shape(large, false, job.device);
  shape.a.workspace = reinterpret_cast<float*>(job.workspace);
  shape.a.counters = job.counters;
  job.launch(shape.grid, sinkhorn_large_kernel, shape.a);
}

}  // namespace mhc::cuda::large
