// SPDX-License-Identifier: Apache-2.0
// Starts a kernel on a stream.
#pragma once

#include "cuda/runtime.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

namespace mhc::cuda {

const char* text_of(cudaError_t error);

template <class... P>
const char* launch(void* stream, const Grid& grid, void (*kernel)(P...), P... arguments) {
  if (grid.blocks == 0) return nullptr;
  if (grid.shared_bytes > (48 << 10)) {
    cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             static_cast<int>(grid.shared_bytes));
    if (error != cudaSuccess) return text_of(error);
  }
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = grid.cooperative ? 1 : 0;
  return text_of(cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace mhc::cuda
#else
#include "executor/launch_host.h"
#endif
