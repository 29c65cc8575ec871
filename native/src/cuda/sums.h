// SPDX-License-Identifier: Apache-2.0
// Sums over the threads of a warp and of a block, always in the same order.
#pragma once

#include "cuda/device.h"

namespace mhc::cuda {

struct Adding {
  MHC_FN float operator()(float a, float b) const { return a + b; }
};
struct Largest {
  MHC_FN float operator()(float a, float b) const { return b > a || b != b ? b : a; }  // a NaN stays
};

template <class Combine>
MHC_FN float over_warp(float v, const Combine& combine) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) v = combine(v, shuffle_xor(v, mask));
  return v;
}

// kValues numbers of each thread, combined over the block: all threads put theirs, then any may ask for a total. Two sets of
// places take turns, so that one barrier is enough.
template <int kValues, class Combine = Adding>
class OverBlock {
 public:
  static constexpr int floats(int threads) { return 2 * kValues * (threads / 32); }
  MHC_FN explicit OverBlock(float* places) : places_(places) {}

  // Ends with a barrier of the block.
  MHC_FN void put(const float (&v)[kValues]) {
    const int warps = block_threads() / 32, warp = thread_index() / 32, lane = thread_index() % 32;
    turn_ ^= 1;
#pragma unroll
    for (int k = 0; k < kValues; ++k) {
      const float of_warp = over_warp(v[k], Combine{});
      if (lane == 0) places_[(turn_ * kValues + k) * warps + warp] = of_warp;
    }
    sync_block();
  }
  // Until the put after next.
  MHC_FN float total(int k) const {
    const int warps = block_threads() / 32;
    const float* places = places_ + (turn_ * kValues + k) * warps;
    float total = places[0];
    for (int w = 1; w < warps; ++w) total = Combine{}(total, places[w]);
    return total;
  }

 private:
  float* places_;
  int turn_ = 0;
};

// Sums of K values over the lanes that differ in the bits kMask, kMask / 2 ... kLast; each of them keeps a part. The lane's
// first is scattered<K, kMask, kLast>(), and K / (number of lanes) of them are at the front of v.
template <int K, int kMask, int kLast>
MHC_FN void scatter_sums(float* v) {
  if constexpr (kMask >= kLast) {
    static_assert(K % 2 == 0);
    const bool upper = (thread_index() & kMask) != 0;
#pragma unroll
    for (int i = 0; i < K / 2; ++i) {
      const float kept = upper ? v[i + K / 2] : v[i], given = upper ? v[i] : v[i + K / 2];
      v[i] = kept + shuffle_xor(given, kMask);
    }
    scatter_sums<K / 2, kMask / 2, kLast>(v);
  }
}
template <int K, int kMask, int kLast>
MHC_FN int scattered() {
  if constexpr (kMask >= kLast) {
    return ((thread_index() & kMask) != 0 ? K / 2 : 0) + scattered<K / 2, kMask / 2, kLast>();
  } else {
    return 0;
  }
}

// Sums over a block of kWarps warps: each thread brings kMost values (a multiple of 32, which are lost), and behind the
// barrier that ends this total_of(parts, k) is the sum of the k-th. parts has kMost * kWarps floats.
template <int kWarps, int kMost>
MHC_FN void put_parts(float (&values)[kMost], float* parts) {
  const int warp = thread_index() / 32, lane = thread_index() % 32;
#pragma unroll
  for (int first = 0; first < kMost; first += 32) {
    scatter_sums<32, 16, 1>(values + first);
    parts[(first + lane) * kWarps + warp] = values[first];
  }
  sync_block();
}
template <int kWarps>
MHC_FN float total_of(const float* parts, int k) {
  float total = parts[k * kWarps];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) total += parts[k * kWarps + w];
  return total;
}

}  // namespace mhc::cuda
