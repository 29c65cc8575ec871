// SPDX-License-Identifier: Apache-2.0
// A checked tensor argument: what a kernel sees of an mhc_tensor.
#pragma once

#include "core/types.h"

namespace mhc {

constexpr int kMaxRank = 4;

struct View {
  char* data = nullptr;
  int64_t shape[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};  // in elements
  int rank = 0;
  DType type = DType::F32;
  bool given = false;

  explicit operator bool() const { return given; }

  template <class T>
  T* at(int64_t i = 0, int64_t j = 0, int64_t k = 0) const {
    return reinterpret_cast<T*>(data) + i * stride[0] + j * stride[1] + k * stride[2];
  }
};

}  // namespace mhc
