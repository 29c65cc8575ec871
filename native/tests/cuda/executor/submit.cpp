// SPDX-License-Identifier: Apache-2.0
#include "executor/submit.h"

#include <dlfcn.h>

#include <atomic>

namespace mhc::executor {
namespace {

using Launch = const char* (*)(void*, const std::function<void()>*);

// Whoever uses streams has loaded the library that makes them; nothing is loaded here.
template <class Function>
Function find(const char* name) {
  void* runtime = dlopen("libcudart.so.13", RTLD_NOLOAD | RTLD_LAZY);
  return runtime && dlsym(runtime, "mhc_stand_in_launch") ? reinterpret_cast<Function>(dlsym(runtime, name)) : nullptr;
}

std::atomic<int64_t> launches{0};

}  // namespace

extern "C" __attribute__((visibility("default"))) int64_t mhc_executor_launches() { return launches; }

const char* submit(void* stream, const Grid& grid, std::function<void()> body) {
  ++launches;
  const Launch launch = find<Launch>("mhc_stand_in_launch");
  if (!launch) {
    run(grid, body);
    return nullptr;
  }
  const std::function<void()> kernel = [grid, body = std::move(body)] { run(grid, body); };
  return launch(stream, &kernel);
}

void wait_for_device() {
  if (auto wait = find<int (*)()>("cudaDeviceSynchronize")) wait();
}

}  // namespace mhc::executor
