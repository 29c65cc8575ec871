// SPDX-License-Identifier: Apache-2.0
#include "executor/submit.h"

#include <dlfcn.h>

namespace mhc::executor {
namespace {

using Launch = const char* (*)(void*, const std::function<void()>*);

// Whoever uses streams has loaded the library that makes them; nothing is loaded here.
Launch find_launch() {
  void* runtime = dlopen("libcudart.so.13", RTLD_NOLOAD | RTLD_LAZY);
  return runtime ? reinterpret_cast<Launch>(dlsym(runtime, "mhc_stand_in_launch")) : nullptr;
}

}  // namespace

const char* submit(void* stream, const Grid& grid, std::function<void()> body) {
  const Launch launch = find_launch();
  if (!launch) {
    run(grid, body);
    return nullptr;
  }
  const std::function<void()> kernel = [grid, body = std::move(body)] { run(grid, body); };
  return launch(stream, &kernel);
}

}  // namespace mhc::executor
