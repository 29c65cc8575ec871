// SPDX-License-Identifier: Apache-2.0
// A group of blocks that shares the width of a residual, a unit of channels each, and goes through its tiles of tokens
// together: how the blocks tell each other what is done, and the unit's part of the projection.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// The counters of a slot only grow while the kernel runs; the last block of a group sets them back to zero.
struct GroupCounters {
  static constexpr int kMostSlots = 8;
  static constexpr int kOfGroup = 3 * kMostSlots + 1;
  uint32_t* base;

  MHC_FN GroupCounters(uint32_t* counters, int group) : base(counters + group * kOfGroup) {}
  MHC_FN uint32_t* summed(int slot) const { return base + slot; }
  MHC_FN uint32_t* ready(int slot) const { return base + kMostSlots + slot; }
  MHC_FN uint32_t* normed(int slot) const { return base + 2 * kMostSlots + slot; }
  // Until *counter has been raised times for the k-th tile of the group. A whole warp.
  static MHC_FN void wait(const uint32_t* counter, int k, int slots, int times) {
    if (thread_index() % 32 == 0) {
      uint32_t wanted = static_cast<uint32_t>((k / slots + 1) * times);
      while (load_acquire(counter) < wanted) pause();
    }
    sync_warp();
  }
  // The last block of a group to get here leaves the counters as they were found.
  MHC_FN void leave(int units) const {
    sync_block();
    if (thread_index() != 0) return;
    if (fetch_add(base + 3 * kMostSlots, 1) + 1 < static_cast<uint32_t>(units)) return;
    for (int i = 0; i < kOfGroup; ++i) store1(base + i, 0u);
  }
};

// The high eleven bits of a float, which a tensor core's TF32 holds; the rest goes through it by itself.
MHC_FN float high_part(float v) { return float_from_bits(bits_from_float(v) & 0xffffe000u); }
// The nearest such number. Where both factors are in two parts, the product of the low ones is left out, and may be no larger
// than this makes it.
MHC_FN float nearest_part(float v) { return float_from_bits((bits_from_float(v) + 0x1000u) & 0xffffe000u); }

// The projection [outputs][streams * width], as a group's block wants its columns.
struct ProjectionColumns {
  Array<const float> projection, norm;
  int64_t width;
  bool aligned;  // rows may be copied in bulk
};

// Channels of one unit to shared memory, [kOutputs][kPitch] of which kStreams * kUnit are used; zeros where the width ends.
template <int kOutputs, int kStreams, int kUnit, int kPitch>
struct UnitColumns {
  const ProjectionColumns from;
  const int64_t first;
  const int count;
  const bool bulk;

  MHC_FN UnitColumns(const ProjectionColumns& columns, int unit)
      : from(columns), first(int64_t{unit} * kUnit),
        count(static_cast<int>(from.width - first < kUnit ? from.width - first : kUnit)),
        bulk(has_bulk_copy() && from.aligned && count % 4 == 0) {}

  // The bulk copies, by one warp. The barrier is new, or has been through a phase.
  MHC_FN void start_copies(float* to, BulkBarrier* barrier, bool again) const {
    const int lane = thread_index() % 32;
    if (lane == 0) {
      const auto bytes = static_cast<uint32_t>(kOutputs * kStreams * count * 4);
      again ? bulk_again(barrier, bytes) : bulk_start(barrier, bytes);
    }
    sync_warp();
    for (int row = lane; row < kOutputs * kStreams; row += 32) {
      const int o = row / kStreams, i = row % kStreams;
      bulk_copy(to + o * kPitch + i * kUnit, from.projection.at(o) + i * from.width + first, static_cast<uint32_t>(count * 4),
                barrier);
    }
  }
  // What they leave, by a number of threads.
  MHC_FN void fill(float* to, int thread, int threads) const {
    if (bulk && count == kUnit) return;
    for (int index = thread; index < kOutputs * kStreams * kUnit; index += threads) {
      const int row = index / kUnit, c = index % kUnit, o = row / kStreams, i = row % kStreams;
      if (bulk && c < count) continue;
      float value = 0.0f;
      if (c < count) {
        value = load1(from.projection.at(o) + i * from.width + first + c);
        if (from.norm) value = value * load1(from.norm.at() + i * from.width + first + c);
      }
      to[o * kPitch + i * kUnit + c] = value;
    }
  }
  // Both, by the whole block, and until they are there.
  MHC_FN void bring(float* to, BulkBarrier* barrier) const {
    if (bulk && thread_index() < 32) start_copies(to, barrier, false);
    fill(to, thread_index(), block_threads());
    sync_block();
    if (bulk) bulk_wait(barrier, 0);
  }
};

}  // namespace mhc::cuda
