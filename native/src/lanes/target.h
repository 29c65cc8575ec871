// SPDX-License-Identifier: Apache-2.0
// The code in this folder is written once for every machine: F is W numbers side by side, a vector on a CPU (cpu/vec.h says
// what can be done with it), and on a GPU (cuda/vec.h) the one number of a thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lanes/macros.h"

#if defined(MHC_TIER)
#define MHC_LANES mhc::cpu::MHC_TIER
#include "cpu/vec.h"
#else
#define MHC_LANES mhc::cuda
#include "cuda/vec.h"
#endif
