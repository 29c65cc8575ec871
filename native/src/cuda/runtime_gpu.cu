// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "cuda/driver.h"
#include "cuda/launch.h"

namespace mhc::cuda {

const char* text_of(cudaError_t error) {
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();  // so that an error which is not sticky does not come up again
  static thread_local char text[256];
  std::snprintf(text, sizeof text, "%s (%d): %s", cudaGetErrorName(error), static_cast<int>(error), cudaGetErrorString(error));
  return text;
}

DriverVersions driver_versions() {
  int installed = 0, runtime = 0;
  cudaDriverGetVersion(&installed);
  cudaRuntimeGetVersion(&runtime);
  return {installed, runtime / 1000 * 1000};  // drivers serve every runtime of their major version
}

const char* device_count(int* count) {
  *count = 0;
  return text_of(cudaGetDeviceCount(count));
}

const char* device_properties(int device, DeviceProperties* properties) {
  cudaDeviceProp all;
  if (const char* error = text_of(cudaGetDeviceProperties(&all, device))) return error;
  std::snprintf(properties->name, sizeof properties->name, "%s", all.name);
  properties->multiprocessors = all.multiProcessorCount;
  properties->major = all.major;
  properties->minor = all.minor;
  properties->shared_bytes = all.sharedMemPerBlockOptin;
  properties->counts_traffic = false;
  return nullptr;
}

OnDevice::OnDevice(int device) {
  error_ = text_of(cudaGetDevice(&previous_));
  if (!error_ && previous_ != device) error_ = text_of(cudaSetDevice(device));
}
OnDevice::~OnDevice() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

const char* allocate(size_t bytes, char** memory) {
  if (const char* error = text_of(cudaMalloc(reinterpret_cast<void**>(memory), bytes))) return error;
  // Waits for this alone: on another stream a rank may wait for what this thread is yet to send.
  cudaError_t code = cudaMemsetAsync(*memory, 0, bytes, cudaStreamPerThread);
  if (code == cudaSuccess) code = cudaStreamSynchronize(cudaStreamPerThread);
  if (code != cudaSuccess) cudaFree(*memory);
  return text_of(code);
}
void release(char* memory) { cudaFree(memory); }

void start_count(const Arguments&) {}
void stop_count(size_t, mhc_traffic*) {}

const char* blocks_per_multiprocessor(const void* kernel, const Grid& grid, int* blocks) {
  if (grid.shared_bytes > (48 << 10)) {
    if (const char* error = text_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                         static_cast<int>(grid.shared_bytes)))) {
      return error;
    }
  }
  return text_of(cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, grid.threads, grid.shared_bytes));
}

}  // namespace mhc::cuda
