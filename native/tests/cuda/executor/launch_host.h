// SPDX-License-Identifier: Apache-2.0
// cuda/launch.h on the executor.
#pragma once

#include "cuda/runtime.h"
#include "executor/submit.h"

namespace mhc::cuda {

// Of a block, on the device as it is now.
size_t most_shared_bytes();

template <class... P>
const char* launch(void* stream, const Grid& grid, void (*kernel)(P...), P... arguments) {
  if (grid.shared_bytes > most_shared_bytes()) return "a block asks for more shared memory than there is";
  return executor::submit(stream, {grid.blocks, grid.threads, grid.shared_bytes, grid.cooperative}, [=] { kernel(arguments...); });
}

}  // namespace mhc::cuda
