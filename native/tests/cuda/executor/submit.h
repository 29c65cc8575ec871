// SPDX-License-Identifier: Apache-2.0
// A kernel's way to the executor: at once, or through the stream of the stand-in for NVIDIA's runtime where that is loaded.
#pragma once

#include "executor/executor.h"

namespace mhc::executor {

// The text of an error, or nullptr.
const char* submit(void* stream, const Grid& grid, std::function<void()> body);

// Waits until everything that was submitted is done.
void wait_for_device();

}  // namespace mhc::executor
