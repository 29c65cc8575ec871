// SPDX-License-Identifier: Apache-2.0
// Operands where a GPU can reach them. The tests make and look at operands in host memory; while a call runs on a device with
// memory of its own, each has a copy there, as far from an aligned address as the original and ending with its allocation, so
// that compute-sanitizer sees what steps out of it.
#pragma once

#include <memory>
#include <vector>

#include "support.h"

namespace mhc_test {

class DeviceCopies {
 public:
  // Nothing is copied where the context's device reads host memory.
  DeviceCopies(mhc_context* context, const std::vector<Tensor*>& tensors);
  // Brings everything back, inputs and padding too: nothing but outputs may have changed.
  ~DeviceCopies() noexcept(false);
  DeviceCopies(const DeviceCopies&) = delete;
  DeviceCopies& operator=(const DeviceCopies&) = delete;

 private:
  struct Block {
    std::shared_ptr<GuardedMemory> original;
    uint8_t* allocation;
    uint8_t* data;
  };
  const Block& block_of(const std::shared_ptr<GuardedMemory>& memory);

  std::vector<Block> blocks_;
  std::vector<Tensor*> moved_;
};

}  // namespace mhc_test
