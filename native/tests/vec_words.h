// SPDX-License-Identifier: Apache-2.0
// The words of cpu/vec.h as functions over arrays, one table for each vector tier.
#pragma once

namespace mhc_test {

// Each over one vector of lanes floats, where nothing else is said.
struct VecWords {
  int lanes;
  void (*exp)(const float* x, float* out);
  void (*sigmoid)(const float* x, float* out);
  void (*sigmoid_slope)(const float* x, float* out);
  void (*tanh)(const float* x, float* out);
  void (*sqrt)(const float* x, float* out);
  void (*round_even)(const float* x, float* out);
  void (*min)(const float* a, const float* b, float* out);
  void (*max)(const float* a, const float* b, float* out);
  void (*scale2)(const float* x, const float* k, float* out);
  float (*sum)(const float* x);
  float (*max_of)(const float* x);
  void (*transpose)(float* x);  // lanes vectors

  // Of float, fp16 and bf16.
  struct Storage {
    void (*rounded)(const float* x, float* out);
    void (*load)(const void* from, float* out, int n);  // n <= lanes elements
    void (*store)(const float* x, void* to, int n);
    void (*copy)(const void* from, void* to, int n);  // lanes elements are written
    void (*stream)(const float* x, void* to);
    void (*through_packed)(const void* from, void* to);  // load_packed, and back by store
    // Over 2 lanes elements, by Pairs: x + y, stored or streamed, by way of what is stored or at once.
    void (*pair_sum)(const float* x, const void* y, void* to);
    void (*pair_sum_streamed)(const float* x, const void* y, void* to);
    void (*pair_copy)(const void* from, void* to);  // load_packed, unpack, pack and store
    void (*pair_copy_streamed)(const void* from, void* to);
  } storage[3];
};

// The table of a tier that is built in, or nullptr.
const VecWords* find_vec_words(int tier);

}  // namespace mhc_test
