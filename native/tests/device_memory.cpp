// SPDX-License-Identifier: Apache-2.0
#include "device_memory.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace mhc_test {
namespace {

constexpr int kAnyDirection = 4;  // cudaMemcpyDefault
constexpr size_t kAlignment = 256;

// The few functions of the CUDA runtime that this takes. MHC_TEST_CUDART names the library.
class Runtime {
 public:
  static const Runtime& get() {
    static const Runtime runtime;
    return runtime;
  }

  uint8_t* allocate(size_t bytes) const {
    void* memory = nullptr;
    check(malloc_(&memory, bytes), "cudaMalloc");
    return static_cast<uint8_t*>(memory);
  }
  void release(uint8_t* memory) const { check(free_(memory), "cudaFree"); }
  void copy(void* to, const void* from, size_t bytes) const { check(copy_(to, from, bytes, kAnyDirection), "cudaMemcpy"); }

 private:
  Runtime() {
    const char* given = std::getenv("MHC_TEST_CUDART");
    std::string tried;
    void* library = nullptr;
    for (const char* name : {given ? given : "libcudart.so.13", given ? given : "libcudart.so.12"}) {
      if (!library) library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
      if (!library) tried += std::string("\n  ") + dlerror();
    }
    if (!library) throw std::runtime_error("the tests need the CUDA runtime to allocate on the device; tried:" + tried +
                                           "\nset MHC_TEST_CUDART to it");
    find(library, "cudaMalloc", &malloc_);
    find(library, "cudaFree", &free_);
    find(library, "cudaMemcpy", &copy_);
    find(library, "cudaGetErrorString", &text_);
  }

  template <class F>
  static void find(void* library, const char* name, F* function) {
    *function = reinterpret_cast<F>(dlsym(library, name));
    if (!*function) throw std::runtime_error(std::string("the CUDA runtime has no ") + name);
  }

  void check(int code, const char* function) const {
    if (code != 0) throw std::runtime_error(std::string(function) + ": " + text_(code));
  }

  int (*malloc_)(void**, size_t);
  int (*free_)(void*);
  int (*copy_)(void*, const void*, size_t, int);
  const char* (*text_)(int);
};

bool has_memory_of_its_own(mhc_context* context) {
  mhc_context_info info = {};
  info.struct_size = sizeof info;
  mhc_context_get_info(context, &info);
  if (info.device.device_type != MHC_DEVICE_CUDA) return false;
  return std::getenv("MHC_TEST_CUDART") || std::strncmp(info.name, "executor", 8) != 0;
}

}  // namespace

DeviceCopies::DeviceCopies(mhc_context* context, const std::vector<Tensor*>& tensors) {
  if (!has_memory_of_its_own(context)) return;
  for (Tensor* tensor : tensors) {
    const std::shared_ptr<GuardedMemory>& memory = tensor->memory();
    if (memory->size() == 0 || tensor->get()->data != memory->data()) continue;
    tensor->get()->data = block_of(memory).data;
    moved_.push_back(tensor);
  }
}

const DeviceCopies::Block& DeviceCopies::block_of(const std::shared_ptr<GuardedMemory>& memory) {
  for (const Block& block : blocks_)
    if (block.original == memory) return block;
  const size_t offset = reinterpret_cast<uintptr_t>(memory->data()) % kAlignment;
  uint8_t* allocation = Runtime::get().allocate(offset + memory->size());
  Runtime::get().copy(allocation + offset, memory->data(), memory->size());
  blocks_.push_back({memory, allocation, allocation + offset});
  return blocks_.back();
}

DeviceCopies::~DeviceCopies() noexcept(false) {
  for (Tensor* tensor : moved_) tensor->get()->data = tensor->memory()->data();
  for (const Block& block : blocks_) Runtime::get().copy(block.original->data(), block.data, block.original->size());
  for (const Block& block : blocks_) Runtime::get().release(block.allocation);
}

}  // namespace mhc_test
