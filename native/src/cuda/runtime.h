// SPDX-License-Identifier: Apache-2.0
// What the backend needs of a CUDA runtime. runtime_gpu.cu is NVIDIA's; the tests have one that runs kernels on the CPU.
// An error comes back as its text, nullptr is success.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/arguments.h"

namespace mhc::cuda {

struct DeviceProperties {
  char name[128];
  int multiprocessors;
  int major, minor;     // compute capability
  size_t shared_bytes;  // that one block may have
  bool counts_traffic;
};

const char* device_count(int* count);
const char* device_properties(int device, DeviceProperties* properties);

// Makes a device current while it lives.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const char* error() const { return error_; }

 private:
  int previous_ = -1;
  const char* error_ = nullptr;
};

// Of the current device, cleared. Not to be called while a stream is captured.
const char* allocate(size_t bytes, char** memory);
void release(char* memory);

// The tests count what kernels move between these two; elsewhere nothing happens.
void start_count(const Arguments& arguments);
void stop_count(size_t scratch_bytes, mhc_traffic* traffic);

struct Grid {
  int64_t blocks;
  int threads;  // of a block
  size_t shared_bytes = 0;
  bool cooperative = false;  // all blocks run at the same time
};

// How many blocks of a kernel run on one multiprocessor at a time.
const char* blocks_per_multiprocessor(const void* kernel, const Grid& grid, int* blocks);

// cuda/launch.h has: const char* launch(void* stream, const Grid& grid, void (*kernel)(P...), arguments...)

}  // namespace mhc::cuda
