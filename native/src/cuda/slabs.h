// SPDX-License-Identifier: Apache-2.0
// Sums over tokens that do not depend on the device: tokens are cut into slabs by their number alone, each slab is summed by
// itself into the workspace, and the slabs' sums are added in a fixed order.
#pragma once

#include "cuda/kernels.h"

namespace mhc::cuda {

struct Slabs {
  int64_t size, count;

  // At least `least` tokens in a slab, at most `most` slabs.
  Slabs(int64_t tokens, int64_t least, int64_t most) {
    size = (tokens + most - 1) / most;
    if (size < least) size = least;
    count = (tokens + size - 1) / size;
  }
};

// out = the sum over slabs of parts, or is increased by it. parts is [count][step], of which the first numbers are those of
// out, [K] or [R, K], row by row.
void sum_slabs(const float* parts, int64_t step, int64_t count, const View& out, bool accumulate, Job& job);

}  // namespace mhc::cuda
