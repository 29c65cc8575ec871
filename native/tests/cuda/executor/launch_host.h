// SPDX-License-Identifier: Apache-2.0
// cuda/launch.h on the executor.
#pragma once

#include "cuda/runtime.h"
#include "executor/submit.h"

namespace mhc::cuda {

template <class... P>
const char* launch(void* stream, const Grid& grid, void (*kernel)(P...), P... arguments) {
  return executor::submit(stream, {grid.blocks, grid.threads, grid.shared_bytes, grid.cooperative}, [=] { kernel(arguments...); });
}

}  // namespace mhc::cuda
