// SPDX-License-Identifier: Apache-2.0
// A boundary through the C ABI, forward and backward.
#pragma once

#include <vector>

#include "measure.h"

namespace mhc::bench {

// "boundary" and "boundary_backward" of n = 4 streams in bfloat16, the paper's conventions, with rows that rotate over
// buffers larger than the caches. Ends the process where an operation fails.
void add_boundary(std::vector<Contestant>& contestants, int threads, int64_t tokens, int64_t width);

}  // namespace mhc::bench
