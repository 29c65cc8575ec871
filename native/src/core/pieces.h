// SPDX-License-Identifier: Apache-2.0
// Hands out aligned pieces of a workspace; with base nullptr it only counts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mhc {

template <size_t kAlignment>
class Pieces {
 public:
  explicit Pieces(char* base) : base_(base) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace mhc
