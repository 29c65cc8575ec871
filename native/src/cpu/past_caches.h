// SPDX-License-Identifier: Apache-2.0
// Rows that are larger than the caches: nobody will find them there again, and a store past the caches does not read first
// what it overwrites. stream_fence() before others read them.
#pragma once

#include "core/arguments.h"
#include "cpu/vec.h"

namespace mhc::cpu::MHC_TIER {

inline bool larger_than_caches(const View& rows) {
  int64_t bytes = static_cast<int64_t>(size_of(rows.type));
  for (int i = 0; i < rows.rank; ++i) bytes *= rows.shape[i];
  return rows.given && bytes > (16 << 20);
}

// store, or past the caches where that is wanted and a whole vector is at hand.
template <class T>
inline void put(T* p, F value, int64_t left, bool past_caches) {
  if (past_caches && left >= W) {
    stream(p, value);
  } else {
    store_upto(p, value, left);
  }
}

}  // namespace mhc::cpu::MHC_TIER
