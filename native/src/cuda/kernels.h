// SPDX-License-Identifier: Apache-2.0
// Declares every operation of the CUDA backend. <operation>.cu defines
//   size_t <operation>_space(problem, device)   the bytes of workspace it wants
//   void <operation>(problem, job)              which puts its kernels on the job's stream
#pragma once

#include "core/operations.h"
#include "core/pieces.h"
#include "cuda/launch.h"

namespace mhc::cuda {

constexpr int kCounters = 4096;

// What an operation runs with.
struct Job {
  void* stream;
  const DeviceProperties& device;
  char* workspace;     // 256-byte aligned, at least what its space function asked for
  uint32_t* counters;  // kCounters, zero; an operation leaves them zero
  const char* error = nullptr;    // of the first launch that failed; the others do nothing

  template <class... P>
  void launch(const Grid& grid, void (*kernel)(P...), std::type_identity_t<P>... arguments) {
    if (!error) error = cuda::launch<P...>(stream, grid, kernel, arguments...);
  }
};

struct Kernel {
  size_t (*space)(const void* problem, const DeviceProperties& device);
  void (*run)(const void* problem, Job& job);
};

#define MHC_DECLARE(name, NAME, Type)                                                \
  size_t name##_space(const Type##Problem& problem, const DeviceProperties& device); \
  void name(const Type##Problem& problem, Job& job);
MHC_OPERATIONS(MHC_DECLARE)
#undef MHC_DECLARE

using Pieces = mhc::Pieces<256>;

}  // namespace mhc::cuda
