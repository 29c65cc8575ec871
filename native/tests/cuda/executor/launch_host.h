// SPDX-License-Identifier: Apache-2.0
// cuda/launch.h on the executor.
#pragma once

#include "cuda/runtime.h"
#include "executor/executor.h"

namespace mhc::cuda {

template <class... P>
const char* launch(void*, const Grid& grid, void (*kernel)(P...), P... arguments) {
  executor::run({grid.blocks, grid.threads, grid.shared_bytes, grid.cooperative}, [&] { kernel(arguments...); });
  return nullptr;
}

}  // namespace mhc::cuda
