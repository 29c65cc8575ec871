// SPDX-License-Identifier: Apache-2.0
// cuda/runtime.h on the executor: one device with few multiprocessors and an H200's shared memory, unless
// MHC_EXECUTOR_MULTIPROCESSORS and MHC_EXECUTOR_SHARED_BYTES say otherwise.
#include "cuda/launch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu/counter.h"

namespace mhc::cuda {

namespace {
cpu::Counter counter;

int given(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}
}  // namespace

size_t most_shared_bytes() { return static_cast<size_t>(given("MHC_EXECUTOR_SHARED_BYTES", 227 << 10)); }

const char* device_count(int* count) {
  *count = 1;
  return nullptr;
}

const char* device_properties(int device, DeviceProperties* properties) {
  if (device != 0) return "the executor has one device, 0";
  std::snprintf(properties->name, sizeof properties->name, "executor on the CPU");
  properties->multiprocessors = given("MHC_EXECUTOR_MULTIPROCESSORS", 6);
  properties->major = 9;
  properties->minor = 0;
  properties->shared_bytes = most_shared_bytes();
  properties->counts_traffic = true;
  return nullptr;
}

OnDevice::OnDevice(int) {}
OnDevice::~OnDevice() = default;

const char* allocate(size_t bytes, char** memory) {
  *memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (!*memory) return "out of memory";
  std::memset(*memory, 0, bytes);
  return nullptr;
}
void release(char* memory) {
  executor::wait_for_device();  // as cudaFree does
  std::free(memory);
}

void start_count(const Arguments& arguments) { counter.start(arguments); }
void stop_count(size_t scratch_bytes, mhc_traffic* traffic) { counter.stop(scratch_bytes, traffic); }

const char* blocks_per_multiprocessor(const void*, const Grid& grid, int* blocks) {
  *blocks = static_cast<int>((227 << 10) / (grid.shared_bytes + 1024));
  if (*blocks > 2048 / grid.threads) *blocks = 2048 / grid.threads;
  return nullptr;
}

}  // namespace mhc::cuda
