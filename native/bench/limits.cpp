// SPDX-License-Identifier: Apache-2.0
#include "limits.h"

#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "measure.h"

namespace mhc::bench {
namespace {

constexpr int64_t kSteps = 1000000;
constexpr int kChains = 16;  // independent sums: more than latency times units

// Runs work(i) on so many threads, this one among them.
template <class Work>
void on_threads(int threads, Work work) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back([=] { work(i); });
  work(0);
  for (std::thread& each : others) each.join();
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void copy_past_caches_512(char* to, const char* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
  }
  _mm_sfence();
}

__attribute__((target("avx2"))) void copy_past_caches_256(char* to, const char* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i)));
  }
  _mm_sfence();
}

__attribute__((target("avx512f"))) double multiply_add_512() {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1);
  __m512 factor = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) sums[j] = _mm512_fmadd_ps(sums[j], factor, factor);
  }
  float lanes[16], total = 0;
  for (const __m512& sum : sums) {
    _mm512_storeu_ps(lanes, sum);
    total += lanes[0];
  }
  return total;
}

__attribute__((target("avx2,fma"))) double multiply_add_256() {
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1);
  __m256 factor = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) sums[j] = _mm256_fmadd_ps(sums[j], factor, factor);
  }
  float lanes[8], total = 0;
  for (const __m256& sum : sums) {
    _mm256_storeu_ps(lanes, sum);
    total += lanes[0];
  }
  return total;
}
#endif

#if defined(__aarch64__)
using Lanes = float32x4_t;
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return vfmaq_f32(c, a, b); }
#else
typedef float Lanes __attribute__((vector_size(16)));
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return a * b + c; }
#endif

double multiply_add_128() {
  Lanes sums[kChains];
  for (Lanes& sum : sums) sum = Lanes{1, 1, 1, 1};
  Lanes factor = {0.5f, 0.5f, 0.5f, 0.5f};
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) sums[j] = multiply_add(sums[j], factor, factor);
  }
  float total = 0;
  for (const Lanes& sum : sums) total += sum[0];
  return total;
}

struct Peak {
  double (*run)();
  int lanes;
};

Peak widest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return {multiply_add_512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {multiply_add_256, 8};
#endif
  return {multiply_add_128, 4};
}

volatile double keep;  // so that no sum is dropped

// Compiled for the widest vectors that there may be; the loader takes what the CPU has.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
double sum_of(const char* from, size_t bytes) {
  typedef float Wide __attribute__((vector_size(64)));
  Wide sums[8] = {};
  for (size_t i = 0; i + sizeof sums <= bytes; i += sizeof sums) {
    const Wide* at = reinterpret_cast<const Wide*>(from + i);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sums[j] += at[j];
  }
  for (int j = 1; j < 8; ++j) sums[0] += sums[j];
  return sums[0][0] + sums[0][15];
}

int64_t nanoseconds(double seconds) { return int64_t(seconds * 1e9); }

// Each thread does work(its first byte, how many bytes): whole pages, the last one the rest.
template <class Work>
int64_t in_shares(int64_t bytes, int threads, Work work) {
  int64_t share = bytes / threads / 4096 * 4096;
  return nanoseconds(seconds_of([&] {
    on_threads(threads, [=](int i) { work(i * share, i + 1 < threads ? share : bytes - i * share); });
  }));
}

using Copy = void (*)(char* to, const char* from, size_t bytes);

Copy widest_stream() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return copy_past_caches_512;
  if (__builtin_cpu_supports("avx2")) return copy_past_caches_256;
#endif
  return nullptr;
}

}  // namespace
}  // namespace mhc::bench

using namespace mhc::bench;

int64_t mhc_limit_copy(void* to, const void* from, int64_t bytes, int32_t threads) {
  return in_shares(bytes, threads, [=](int64_t at, int64_t count) {
    std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, count);
  });
}

int64_t mhc_limit_stream(void* to, const void* from, int64_t bytes, int32_t threads) {
  Copy copy = widest_stream();
  if (!copy) return -1;
  return in_shares(bytes / 64 * 64, threads, [=](int64_t at, int64_t count) {
    copy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, count);
  });
}

int64_t mhc_limit_read(const void* from, int64_t bytes, int32_t threads) {
  return in_shares(bytes, threads,
                   [=](int64_t at, int64_t count) { keep = sum_of(static_cast<const char*>(from) + at, count); });
}

int64_t mhc_limit_multiply_adds(int32_t threads, int64_t* count) {
  Peak peak = widest();
  *count = kSteps * kChains * peak.lanes * threads;
  return nanoseconds(seconds_of([&] { on_threads(threads, [=](int) { keep = peak.run(); }); }));
}
