// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <atomic>
#include <cstdlib>

#include "mhc/mhc.h"

namespace mhc {
namespace {
std::atomic<long long> live_bytes{0};
constexpr size_t kPage = 4096;
}  // namespace

void count_live_bytes(long long change) { live_bytes.fetch_add(change, std::memory_order_relaxed); }

bool Memory::grow(size_t bytes) {
  if (bytes <= size_) return true;
  if (bytes > SIZE_MAX - kPage) return false;
  size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  void* block = std::aligned_alloc(kPage, rounded);
  if (!block) return false;
  reset();
  data_ = static_cast<char*>(block);
  size_ = rounded;
  count_live_bytes(static_cast<long long>(rounded));
  return true;
}

void Memory::reset() {
  std::free(data_);
  count_live_bytes(-static_cast<long long>(size_));
  data_ = nullptr;
  size_ = 0;
}

}  // namespace mhc

int64_t mhc_live_bytes(void) { return mhc::live_bytes.load(std::memory_order_relaxed); }
