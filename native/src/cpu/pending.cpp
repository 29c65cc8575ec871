// SPDX-License-Identifier: Apache-2.0
// Weak stand-ins so that the tree links while its operations land one by one. Goes away with the last one.
#include <cstdlib>

#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
#define MHC_PENDING(name, NAME, Type)                                            \
  __attribute__((weak)) Space name##_space(const Type##Problem&, int) { return {}; } \
  __attribute__((weak)) void name(const Type##Problem&, const Job&) { std::abort(); }
MHC_OPERATIONS(MHC_PENDING)
}  // namespace mhc::cpu::MHC_TIER
