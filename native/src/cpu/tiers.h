// SPDX-License-Identifier: Apache-2.0
// The vector code paths: the same sources compiled once for each instruction set.
#pragma once

#include "core/operations.h"

namespace mhc::cpu {

class Pool;

// Workspace of an operation: for each thread, and once for all.
struct Space {
  size_t per_thread = 0;
  size_t shared = 0;
};

// What a kernel runs with. The blocks are 64-byte aligned and hold at least what its space function asked for.
struct Job {
  Pool& pool;
  char* shared;
  char* threads;  // thread i's block is at threads + i * per_thread
  size_t per_thread;

  char* scratch(int worker) const { return threads + static_cast<size_t>(worker) * per_thread; }
};

struct Kernel {
  Space (*space)(const void* problem, int threads);
  void (*run)(const void* problem, const Job& job);
};

constexpr int kOperations = MHC_OP_RECOMPUTE + 1;

// Kernels of one tier, by mhc_operation.
struct Tier {
  Kernel kernels[kOperations];
};

// The tier's table, or nullptr if it is not built in.
const Tier* find_tier(mhc_cpu_tier tier);
// Whether this CPU and its operating system can run it.
bool cpu_can_run(mhc_cpu_tier tier);
// AUTO resolved; MHC_CPU_TIER_AUTO if that tier is not built in or cannot run here.
mhc_cpu_tier choose_tier(mhc_cpu_tier wanted);

}  // namespace mhc::cpu
