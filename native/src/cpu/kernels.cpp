// SPDX-License-Identifier: Apache-2.0
// The tier's table of kernels.
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class Problem, Space (*space)(const Problem&, int), void (*run)(const Problem&, const Job&)>
constexpr Kernel kernel() {
  return {[](const void* problem, int threads) { return space(*static_cast<const Problem*>(problem), threads); },
          [](const void* problem, const Job& job) { run(*static_cast<const Problem*>(problem), job); }};
}

}  // namespace

extern const Tier tier;
// In the order of mhc_operation, which MHC_OPERATIONS keeps.
const Tier tier = {{
#define MHC_ROW(name, NAME, Type) kernel<Type##Problem, name##_space, name>(),
    MHC_OPERATIONS(MHC_ROW)
#undef MHC_ROW
}};

#define MHC_ORDER(name, NAME, Type) MHC_OP_##NAME,
constexpr int kOrder[] = {MHC_OPERATIONS(MHC_ORDER)};
#undef MHC_ORDER
constexpr bool in_order() {
  for (int i = 0; i < kOperations; ++i) {
    if (kOrder[i] != i) return false;
  }
  return sizeof kOrder / sizeof kOrder[0] == kOperations;
}
static_assert(in_order(), "MHC_OPERATIONS lists the operations in the order of mhc_operation");

}  // namespace mhc::cpu::MHC_TIER
