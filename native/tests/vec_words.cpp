// SPDX-License-Identifier: Apache-2.0
// Compiled once for each vector tier, with its flags.
#include "vec_words.h"

#include "cpu/vec_pair.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <F (*kWord)(F)>
void map(const float* x, float* out) {
  store(out, kWord(load(x)));
}
template <F (*kWord)(F, F)>
void map(const float* a, const float* b, float* out) {
  store(out, kWord(load(a), load(b)));
}

// Inline functions of every tier's own signature, by value or by reference, as plain functions.
F exp_of(F x) { return exp(x); }
F sigmoid_of(F x) { return sigmoid(x); }
F sigmoid_slope_of(F x) { return sigmoid_slope(x); }
F tanh_of(F x) { return tanh(x); }
F sqrt_of(F x) { return sqrt(x); }
F round_even_of(F x) { return round_even(x); }
F min_of(F a, F b) { return min(a, b); }
F larger_of(F a, F b) { return max(a, b); }
F scaled(F x, F k) { return scale2(x, k); }

void transpose_of(float* x) {
  F rows[W];
  for (int i = 0; i < W; ++i) rows[i] = load(x + i * W);
  transpose(rows);
  for (int i = 0; i < W; ++i) store(x + i * W, rows[i]);
}

template <class T>
Pair pair_sum(const float* x, const void* y) {
  const Pair a = Pairs<T>::load(x), b = Pairs<T>::load(static_cast<const T*>(y));
  return {a.first + b.first, a.second + b.second};
}
template <class T>
typename Pairs<T>::Packed repacked(const T* from) {
  return Pairs<T>::pack(Pairs<T>::unpack(Pairs<T>::load_packed(from)));
}

template <class T>
constexpr mhc_test::VecWords::Storage storage_of() {
  return {
      [](const float* x, float* out) { store(out, rounded<T>(load(x))); },
      [](const void* from, float* out, int n) { store(out, load_upto(static_cast<const T*>(from), n)); },
      [](const float* x, void* to, int n) { store_upto(static_cast<T*>(to), load(x), n); },
      [](const void* from, void* to, int n) { copy_upto(static_cast<const T*>(from), static_cast<T*>(to), n); },
      [](const float* x, void* to) {
        stream(static_cast<T*>(to), load(x));
        stream_fence();
      },
      [](const void* from, void* to) { store(static_cast<T*>(to), load_packed(static_cast<const T*>(from))); },
      [](const float* x, const void* y, void* to) { Pairs<T>::store(static_cast<T*>(to), pair_sum<T>(x, y)); },
      [](const float* x, const void* y, void* to) {
        Pairs<T>::stream(static_cast<T*>(to), pair_sum<T>(x, y));
        stream_fence();
      },
      [](const void* from, void* to) { Pairs<T>::store(static_cast<T*>(to), repacked(static_cast<const T*>(from))); },
      [](const void* from, void* to) {
        Pairs<T>::stream(static_cast<T*>(to), repacked(static_cast<const T*>(from)));
        stream_fence();
      },
  };
}

}  // namespace

extern const mhc_test::VecWords vec_words;
const mhc_test::VecWords vec_words = {
    W,
    map<exp_of>,
    map<sigmoid_of>,
    map<sigmoid_slope_of>,
    map<tanh_of>,
    map<sqrt_of>,
    map<round_even_of>,
    map<min_of>,
    map<larger_of>,
    map<scaled>,
    [](const float* x) { return sum(load(x)); },
    [](const float* x) { return max_of(load(x)); },
    transpose_of,
    {storage_of<float>(), storage_of<f16>(), storage_of<bf16>()},
};

}  // namespace mhc::cpu::MHC_TIER
