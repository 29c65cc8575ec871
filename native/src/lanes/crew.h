// SPDX-License-Identifier: Apache-2.0
// Who works on one small thing: a thread alone, or the threads of a crew, which take turns with its parts. Between a part
// that one of them wrote and another that reads it stands a meet().
#pragma once

#include "lanes/target.h"

namespace MHC_LANES {

struct Alone {
  template <class Body>
  MHC_FN void each(int count, const Body& body) const {
    for (int i = 0; i < count; ++i) body(i);
  }
  MHC_FN void meet() const {}
  MHC_FN bool leads() const { return true; }
};

}  // namespace MHC_LANES
