// SPDX-License-Identifier: Apache-2.0
// Sums over tokens that do not depend on the threads: tokens are cut into slabs by their number alone, each slab sums
// its tokens in order into a row of its own, and the rows are added up in order.
#pragma once

#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

// How many parts a large gradient is summed in: few tokens each at first, so that small batches find threads, then 256, so
// that the parts stay few beside the tokens; half a GiB at most.
inline int64_t parts_of(int64_t tokens, int64_t bytes_each) {
  constexpr int64_t kMostBytes = int64_t{1} << 29;
  int64_t parts = std::max({std::clamp<int64_t>(tokens / 32, 1, 4), std::clamp<int64_t>(tokens / 128, 1, 8),
                            std::clamp<int64_t>(tokens / 256, 1, 64)});
  return std::clamp<int64_t>(kMostBytes / std::max<int64_t>(bytes_each, 1), 1, parts);
}

struct Slabs {
  static constexpr int64_t kMost = 64, kLeastTokens = 16;

  Slabs(int64_t tokens, int64_t width) : tokens(tokens), width(width), pitch((width + 15) / 16 * 16) {
    size = std::max(kLeastTokens, (tokens + kMost - 1) / kMost);
    count = (tokens + size - 1) / size;
  }
  size_t bytes() const { return static_cast<size_t>(count * pitch) * sizeof(float); }
  int64_t first(int64_t slab) const { return slab * size; }
  int64_t last(int64_t slab) const { return std::min(tokens, (slab + 1) * size); }
  float* row(char* base, int64_t slab) const { return reinterpret_cast<float*>(base) + slab * pitch; }

  int64_t tokens, width, pitch, size, count;
};

inline void clear(float* row, int64_t width) {
  for (int64_t c = 0; c < width; c += W) store_upto(row + c, zero(), width - c);
}

// out = the sum of the rows, or is increased by it.
inline void sum_slabs(Pool& pool, const Slabs& slabs, char* base, float* out, bool accumulate) {
  constexpr int64_t kRun = 512;
  pool.parallel((slabs.width + kRun - 1) / kRun, [&](int, int64_t run) {
    int64_t end = std::min(slabs.width, (run + 1) * kRun);
    for (int64_t c = run * kRun; c < end; c += W) {
      F total = zero();
      for (int64_t s = 0; s < slabs.count; ++s) total = total + load_upto(slabs.row(base, s) + c, end - c);
      if (accumulate) total = load_upto(out + c, end - c) + total;
      store_upto(out + c, total, end - c);
    }
  });
}

}  // namespace mhc::cpu::MHC_TIER
