// SPDX-License-Identifier: Apache-2.0
// Counts what the counting tier loads from and stores to tensor arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/arguments.h"

namespace mhc::cpu {

class Counter {
 public:
  // Starts a count over these tensors, for this thread.
  void start(const Arguments& arguments);
  void stop(size_t scratch_bytes, mhc_traffic* traffic);

  static void read(const void* address, size_t bytes) { note(address, bytes, false); }
  static void write(const void* address, size_t bytes) { note(address, bytes, true); }

 private:
  static void note(const void* address, size_t bytes, bool written);

  struct Range {
    const char *first, *last;
    Traffic traffic;
  };
  std::vector<Range> ranges_;  // while it counts
  mhc_traffic traffic_ = {};
  static thread_local Counter* active;
};

}  // namespace mhc::cpu
