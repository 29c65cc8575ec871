// SPDX-License-Identifier: Apache-2.0
#include "limits.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace mhc::bench {
namespace {

constexpr size_t kCopied = size_t{128} << 20;  // bytes of each buffer: larger than a last-level cache's share
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

using Buffer = std::shared_ptr<char>;

Buffer make_buffer() {
  auto* memory = static_cast<char*>(std::aligned_alloc(4096, kCopied));
  std::memset(memory, 1, kCopied);
  return Buffer(memory, std::free);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void copy_past_caches(char* to, const char* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
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

}  // namespace

void add_limits(std::vector<Contestant>& contestants, int threads) {
  Buffer from = make_buffer(), to = make_buffer();
  size_t share = kCopied / threads / 4096 * 4096;
  double moved = 2.0 * share * threads;
  contestants.push_back({"copy, memcpy", moved, 0, [=] {
    return seconds_of([&] {
      on_threads(threads, [=](int i) { std::memcpy(to.get() + i * share, from.get() + i * share, share); });
    });
  }});
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    contestants.push_back({"copy, past the caches", moved, 0, [=] {
      return seconds_of([&] {
        on_threads(threads, [=](int i) { copy_past_caches(to.get() + i * share, from.get() + i * share, share); });
      });
    }});
  }
#endif
  Peak peak = widest();
  contestants.push_back({"multiply-adds, fp32", 0, double(kSteps) * kChains * peak.lanes * threads, [=] {
    return seconds_of([&] { on_threads(threads, [=](int) { keep = peak.run(); }); });
  }});
}

Rates rates_of(const std::vector<Contestant>& measured) {
  Rates rates{};
  for (const Contestant& each : measured) {
    if (each.name.rfind("copy", 0) == 0) rates.bytes = std::max(rates.bytes, each.bytes / each.median());
    if (each.name.rfind("multiply", 0) == 0) rates.multiply_adds = each.multiply_adds / each.median();
  }
  return rates;
}

}  // namespace mhc::bench
