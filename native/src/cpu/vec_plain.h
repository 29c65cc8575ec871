// SPDX-License-Identifier: Apache-2.0
// Plain C++: the fallback, and with MHC_TIER_COUNTING the tier that counts its loads and stores.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/types.h"
#if defined(MHC_TIER_COUNTING)
#include "cpu/counter.h"
#endif

namespace mhc::cpu::MHC_TIER {

constexpr int W = 8;
constexpr int kTokens = 2, kOutputs = 2;

struct F {
  float v[W];
};

#if defined(MHC_TIER_COUNTING)
inline void count_read(const void* p, size_t bytes) { Counter::read(p, bytes); }
inline void count_write(const void* p, size_t bytes) { Counter::write(p, bytes); }
#else
inline void count_read(const void*, size_t) {}
inline void count_write(const void*, size_t) {}
#endif

template <class Op>
inline F each(Op op) {
  F r;
  for (int i = 0; i < W; ++i) r.v[i] = op(i);
  return r;
}

inline F set(float s) {
  return each([&](int) { return s; });
}
inline F zero() { return set(0.0f); }

template <class T>
inline F load(const T* p) {
  count_read(p, W * sizeof(T));
  return each([&](int i) { return to_float(p[i]); });
}
template <class T>
inline F load(const T* p, int n) {
  count_read(p, static_cast<size_t>(n) * sizeof(T));
  return each([&](int i) { return i < n ? to_float(p[i]) : 0.0f; });
}
template <class T>
inline void store(T* p, const F& a) {
  count_write(p, W * sizeof(T));
  for (int i = 0; i < W; ++i) from_float(a.v[i], p[i]);
}
template <class T>
inline void store(T* p, const F& a, int n) {
  count_write(p, static_cast<size_t>(n) * sizeof(T));
  for (int i = 0; i < n; ++i) from_float(a.v[i], p[i]);
}
template <class T>
inline void stream(T* p, const F& a) {
  store(p, a);
}
inline void stream_fence() {}
__attribute__((always_inline)) inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }
inline F kept(F a) { return a; }
template <class T>
inline void copy(const T* p, T* to) {
  count_read(p, W * sizeof(T));
  std::memcpy(to, p, W * sizeof(T));
}
template <class T>
inline void copy(const T* p, T* to, int n) {
  count_read(p, static_cast<size_t>(n) * sizeof(T));
  std::memset(to, 0, W * sizeof(T));
  std::memcpy(to, p, static_cast<size_t>(n) * sizeof(T));
}
template <class T>
inline T load1(const T* p) {
  count_read(p, sizeof *p);
  return *p;
}
template <class T>
inline void store1(T* p, T s) {
  count_write(p, sizeof *p);
  *p = s;
}
inline void store_quotient(e4m3* p, const F& a, const F& b, const F&, int n = W) {
  count_write(p, static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) p[i] = e4m3_of_quotient(a.v[i], b.v[i]);
}

inline F operator+(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline F operator-(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline F operator*(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline F operator/(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
// Two roundings: a fused one is a library call on a CPU without the instruction.
inline F fma(const F& a, const F& b, const F& c) {
  return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline F min(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F max(const F& a, const F& b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F abs(const F& a) {
  return each([&](int i) { return std::fabs(a.v[i]); });
}
inline F sqrt(const F& a) {
  return each([&](int i) { return std::sqrt(a.v[i]); });
}
inline F round_even(const F& a) {  // adding 1.5 * 2^23 leaves no bits behind the point; the range of use is below 2^22
  return each([&](int i) { return (a.v[i] + 12582912.0f) - 12582912.0f; });
}
inline F scale2(const F& a, const F& k) {
  return each([&](int i) {
    return std::isnan(k.v[i]) ? k.v[i] : a.v[i] * float_of_bits(static_cast<uint32_t>(static_cast<int>(k.v[i]) + 127) << 23);
  });
}
inline F select_less(const F& a, const F& b, const F& yes, const F& no) {
  return each([&](int i) { return a.v[i] < b.v[i] ? yes.v[i] : no.v[i]; });
}
inline void transpose(F* x) {
  for (int i = 0; i < W; ++i) {
    for (int j = 0; j < i; ++j) std::swap(x[i].v[j], x[j].v[i]);
  }
}
inline float sum(const F& a) {
  return ((a.v[0] + a.v[4]) + (a.v[2] + a.v[6])) + ((a.v[1] + a.v[5]) + (a.v[3] + a.v[7]));
}
inline float max_of(const F& a) {
  float m = a.v[0];
  for (int i = 1; i < W; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
template <class T>
struct Packed {
  T v[W];
};
template <class T>
inline Packed<T> pack(const F& a) {
  Packed<T> r;
  for (int i = 0; i < W; ++i) from_float(a.v[i], r.v[i]);
  return r;
}
template <class T>
inline F unpack(const Packed<T>& a) {
  return each([&](int i) { return to_float(a.v[i]); });
}
template <class T>
inline Packed<T> load_packed(const T* p) {
  count_read(p, W * sizeof(T));
  Packed<T> r;
  for (int i = 0; i < W; ++i) r.v[i] = p[i];
  return r;
}
template <class T>
inline void store(T* p, const Packed<T>& a) {
  count_write(p, sizeof a);
  for (int i = 0; i < W; ++i) p[i] = a.v[i];
}
template <class T>
inline void stream(T* p, const Packed<T>& a) {
  store(p, a);
}

template <class T>
inline F rounded(const F& a) {
  return unpack(pack<T>(a));
}

}  // namespace mhc::cpu::MHC_TIER
