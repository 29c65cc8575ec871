// SPDX-License-Identifier: Apache-2.0
// cuda/runtime.h on the executor: one device with few multiprocessors and an H200's shared memory, unless
// MHC_EXECUTOR_MULTIPROCESSORS and MHC_EXECUTOR_SHARED_BYTES say otherwise. MHC_EXECUTOR_FAULT is what is wrong with it:
// no_driver, old_driver, no_device, old_device or broken.
#include "cuda/driver.h"
#include "cuda/launch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu/counter.h"

namespace mhc::cuda {

namespace {
thread_local cpu::Counter counter;  // contexts of several threads count side by side

int given(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

bool fault(const char* what) {
  const char* text = std::getenv("MHC_EXECUTOR_FAULT");
  return text && std::strcmp(text, what) == 0;
}
}  // namespace

size_t most_shared_bytes() { return static_cast<size_t>(given("MHC_EXECUTOR_SHARED_BYTES", 227 << 10)); }

DriverVersions driver_versions() { return {fault("no_driver") ? 0 : fault("old_driver") ? 12040 : 13010, 13000}; }

const char* device_count(int* count) {
  *count = 0;
  if (fault("no_driver") || fault("old_driver")) return "cudaErrorInsufficientDriver (35)";
  if (fault("no_device")) return "cudaErrorNoDevice (100)";
  *count = given("MHC_EXECUTOR_GPUS", 1);
  return nullptr;
}

const char* device_properties(int device, DeviceProperties* properties) {
  if (device < 0 || device >= given("MHC_EXECUTOR_GPUS", 1)) return "the executor has no such device; MHC_EXECUTOR_GPUS is how many";
  std::snprintf(properties->name, sizeof properties->name, "executor on the CPU");
  properties->multiprocessors = given("MHC_EXECUTOR_MULTIPROCESSORS", 6);
  properties->major = fault("old_device") ? 7 : 9;
  properties->minor = 0;
  properties->shared_bytes = most_shared_bytes();
  properties->counts_traffic = true;
  return nullptr;
}

OnDevice::OnDevice(int) : error_(fault("broken") ? "cudaErrorIllegalAddress (700)" : nullptr) {}
OnDevice::~OnDevice() = default;

const char* allocate(size_t bytes, char** memory) {
  if (bytes > PTRDIFF_MAX - 255) return "cudaErrorMemoryAllocation (2)";
  *memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (!*memory) return "cudaErrorMemoryAllocation (2)";
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
