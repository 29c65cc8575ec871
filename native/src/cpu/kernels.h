// SPDX-License-Identifier: Apache-2.0
// Declares every operation's kernel of this tier. <operation>.cpp defines
//   Space <operation>_space(problem, threads)   the workspace it wants
//   void <operation>(problem, job)
#pragma once

#include "core/operations.h"
#include "cpu/pool.h"
#include "cpu/tiers.h"

namespace mhc::cpu::MHC_TIER {

#define MHC_KERNEL(name, NAME, Type)                             \
  Space name##_space(const Type##Problem& problem, int threads); \
  void name(const Type##Problem& problem, const Job& job);
MHC_OPERATIONS(MHC_KERNEL)
#undef MHC_KERNEL

}  // namespace mhc::cpu::MHC_TIER
