// SPDX-License-Identifier: Apache-2.0
// device.h on the executor.
#pragma once

#include <cmath>
#include <cstring>

#include "cpu/counter.h"
#include "executor/executor.h"

#define MHC_APART inline
#define MHC_CONSTANT const
#define MHC_KERNEL(threads) static void

namespace mhc::cuda {

using executor::block_count;
using executor::block_index;
using executor::block_threads;
using executor::pause;
using executor::shared_memory;
using executor::thread_index;

inline void sync_block() { executor::block_barrier(); }
inline void sync_threads(int id, int count) { executor::block_barrier(id, count); }
inline void arrive_threads(int id, int count) { executor::block_arrive(id, count); }
inline void sync_warp() {
  executor::warp_collective(nullptr, [](void* const*) {});
}

struct Shuffle {
  float value;
  int from;
  float result;
};
inline float shuffle(float v, int lane) {
  Shuffle mine{v, lane & 31, 0};
  executor::warp_collective(&mine, [](void* const* all) {
    for (int l = 0; l < 32; ++l) {
      Shuffle* s = static_cast<Shuffle*>(all[l]);
      s->result = static_cast<Shuffle*>(all[s->from])->value;
    }
  });
  return mine.result;
}
inline float shuffle_xor(float v, int mask) { return shuffle(v, (thread_index() & 31) ^ mask); }

// Accesses that a GPU would refuse end the program here too.
inline void check_aligned(const void* p, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0) __builtin_trap();
}
template <class T>
inline T load1(const T* p) {
  check_aligned(p, sizeof(T));
  cpu::Counter::read(p, sizeof(T));
  return *p;
}
template <class T>
inline void store1(T* p, T v) {
  check_aligned(p, sizeof(T));
  cpu::Counter::write(p, sizeof(T));
  *p = v;
}
inline Bits16 load16(const void* p) {
  check_aligned(p, 16);
  cpu::Counter::read(p, 16);
  Bits16 v;
  std::memcpy(&v, p, 16);
  return v;
}
inline void store16(void* p, const Bits16& v) {
  check_aligned(p, 16);
  cpu::Counter::write(p, 16);
  std::memcpy(p, &v, 16);
}
inline Bits8 load8(const void* p) {
  check_aligned(p, 8);
  cpu::Counter::read(p, 8);
  Bits8 v;
  std::memcpy(&v, p, 8);
  return v;
}
inline void store8(void* p, const Bits8& v) {
  check_aligned(p, 8);
  cpu::Counter::write(p, 8);
  std::memcpy(p, &v, 8);
}
inline Bits16 load16_once(const void* p) { return load16(p); }
inline void store16_once(void* p, const Bits16& v) { store16(p, v); }
inline void prefetch(const void*) {}
inline float load_fresh(const float* p) { return load1(p); }

// Other threads may run before and after, so that what others write in between is seen.
inline void add_release(uint32_t* p, uint32_t v) {
  pause();
  *p += v;
  pause();
}
inline uint32_t fetch_add(uint32_t* p, uint32_t v) {
  pause();
  uint32_t old = *p;
  *p += v;
  return old;
}
inline uint32_t load_acquire(const uint32_t* p) { return *static_cast<const volatile uint32_t*>(p); }

inline float cut_to_tf32(float v) { return float_of_bits(bits_of_float(v) & 0xffffe000u); }

struct MmaOperand {
  float* c;
  const float *a, *b;
};
// Sums are cut, not rounded, as tensor cores were seen to do.
inline float toward_zero(double v) {
  float r = static_cast<float>(v);
  return std::isfinite(r) && std::fabs(static_cast<double>(r)) > std::fabs(v) ? std::nextafterf(r, 0.0f) : r;
}
inline void mma_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
  MmaOperand mine{c, a, b};
  executor::warp_collective(&mine, [](void* const* all) {
    auto lane = [&](int l) { return static_cast<MmaOperand*>(all[l]); };
    float rows[16][8], columns[8][8];  // a[m][k], b[k][n]
    for (int g = 0; g < 8; ++g) {
      for (int t = 0; t < 4; ++t) {
        const MmaOperand* o = lane(4 * g + t);
        rows[g][t] = cut_to_tf32(o->a[0]);
        rows[g + 8][t] = cut_to_tf32(o->a[1]);
        rows[g][t + 4] = cut_to_tf32(o->a[2]);
        rows[g + 8][t + 4] = cut_to_tf32(o->a[3]);
        columns[t][g] = cut_to_tf32(o->b[0]);
        columns[t + 4][g] = cut_to_tf32(o->b[1]);
      }
    }
    for (int g = 0; g < 8; ++g) {
      for (int t = 0; t < 4; ++t) {
        for (int e = 0; e < 4; ++e) {
          int m = g + (e >= 2 ? 8 : 0), n = 2 * t + e % 2;
          double sum = lane(4 * g + t)->c[e];
          for (int k = 0; k < 8; ++k) sum += static_cast<double>(rows[m][k]) * columns[k][n];
          lane(4 * g + t)->c[e] = toward_zero(sum);
        }
      }
    }
  });
}

inline constexpr bool has_bulk_copy() { return true; }
// Bytes that came, and those of all phases; how many phases there have been is in the word's upper part.
constexpr int kPhaseShift = 40;
inline void bulk_again(BulkBarrier* barrier, uint32_t bytes) { barrier->expected += (uint64_t{1} << kPhaseShift) + bytes; }
inline void bulk_start(BulkBarrier* barrier, uint32_t bytes) {
  barrier->state = barrier->expected = 0;
  bulk_again(barrier, bytes);
}
inline void bulk_copy(void* to, const void* from, uint32_t bytes, BulkBarrier* barrier) {
  check_aligned(to, 16);
  check_aligned(from, 16);
  if (bytes % 16 != 0) __builtin_trap();
  cpu::Counter::read(from, bytes);
  executor::copy_later(to, from, bytes, &barrier->state);
}
inline void bulk_wait(BulkBarrier* barrier, int phase) {
  const volatile BulkBarrier* now = barrier;
  const auto wanted = static_cast<uint64_t>(phase) + 1;
  while (now->expected >> kPhaseShift < wanted) pause();
  if (now->expected >> kPhaseShift > wanted) __builtin_trap();  // a GPU sees no more than whether a phase is odd
  while (now->state != (now->expected & ((uint64_t{1} << kPhaseShift) - 1))) pause();
}

class AsyncCopies {
 public:
  AsyncCopies() = default;
  AsyncCopies(const AsyncCopies&) = delete;
  AsyncCopies& operator=(const AsyncCopies&) = delete;
  ~AsyncCopies() { finish(group_ + 1); }  // as a GPU would not leave a kernel before them

  template <int kBytes>
  void copy(void* to, const void* from) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
    check_aligned(to, kBytes);
    check_aligned(from, kBytes);
    cpu::Counter::read(from, kBytes);
    wanted_[group_ % kGroups] += kBytes;
    executor::copy_later(to, from, kBytes, &done_[group_ % kGroups]);
  }
  void commit() {
    if (group_ + 1 >= kGroups) finish(group_ + 2 - kGroups);
    ++group_;
    wanted_[group_ % kGroups] = done_[group_ % kGroups] = 0;
  }
  template <int kLeft>
  void wait() {
    static_assert(kLeft < kGroups);
    if (group_ >= kLeft) finish(group_ - kLeft);
  }

 private:
  static constexpr uint64_t kGroups = 8;
  // Groups before number last.
  void finish(uint64_t last) {
    for (uint64_t g = last > kGroups ? last - kGroups : 0; g < last; ++g) {
      while (*static_cast<volatile uint64_t*>(&done_[g % kGroups]) != wanted_[g % kGroups]) pause();
    }
  }
  uint64_t wanted_[kGroups] = {}, done_[kGroups] = {}, group_ = 0;
};

template <class T>
inline float widened(T a) {
  return to_float(a);
}
template <class T>
inline void narrowed(float v, T& out) {
  from_float(v, out);
}
inline float float_from_bits(uint32_t bits) { return float_of_bits(bits); }
inline uint32_t bits_from_float(float v) { return bits_of_float(v); }

}  // namespace mhc::cuda
