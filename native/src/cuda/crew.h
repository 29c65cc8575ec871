// SPDX-License-Identifier: Apache-2.0
// A warp as a crew.
#pragma once

#include "lanes/crew.h"

namespace mhc::cuda {

struct WarpCrew {
  template <class Body>
  MHC_FN void each(int count, const Body& body) const {
    for (int i = thread_index() % 32; i < count; i += 32) body(i);
  }
  MHC_FN void meet() const { sync_warp(); }
  MHC_FN bool leads() const { return thread_index() % 32 == 0; }

  // By counting for each number how many come before it.
  MHC_FN void sort(double* value, int count, double* spare) const {
    each(count, [&](int i) MHC_INLINE {
      int rank = 0;
      for (int j = 0; j < count; ++j) rank += value[j] < value[i] || (value[j] == value[i] && j < i);
      spare[rank] = value[i];
    });
    meet();
    each(count, [&](int i) MHC_INLINE { value[i] = spare[i]; });
    meet();
  }
};

}  // namespace mhc::cuda
