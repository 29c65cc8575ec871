// SPDX-License-Identifier: Apache-2.0
// Counted memory: mhc_live_bytes() is the sum of what is held here.
#pragma once

#include <cstddef>

namespace mhc {

// Adds to (or, negative, takes from) the live count.
void count_live_bytes(long long change);

// A page-aligned block that is counted while it lives.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { reset(); }
  // Replaces the block by one of at least bytes; false, and the old one kept, if there is no memory.
  bool grow(size_t bytes);
  void reset();
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mhc
