// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most.
#pragma once

#include <vector>

#include "measure.h"

namespace mhc::bench {

// "copy, memcpy", "copy, past the caches" and "multiply-adds, fp32", each on that many threads.
void add_limits(std::vector<Contestant>& contestants, int threads);

// Bytes a second, read and written, of the faster copy; fp32 multiply-adds a second. By median times.
struct Rates {
  double bytes;
  double multiply_adds;
};
Rates rates_of(const std::vector<Contestant>& measured);

}  // namespace mhc::bench
