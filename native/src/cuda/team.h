// SPDX-License-Identifier: Apache-2.0
// Blocks that work on one thing together, and wait for each other.
#pragma once

#include "cuda/device.h"

namespace mhc::cuda {

class Team {
 public:
  static constexpr int kCountersEach = 2;

  // Teams of `blocks` lie one after the other in the grid. counters has kCountersEach for each team, zero, and may be
  // missing where a team is one block.
  MHC_FN Team(int blocks, uint32_t* counters)
      : blocks_(blocks), rank_(static_cast<int>(block_index() % blocks)), index_(block_index() / blocks),
        counters_(counters + index_ * kCountersEach) {}

  MHC_FN int blocks() const { return blocks_; }
  MHC_FN int rank() const { return rank_; }
  MHC_FN int64_t index() const { return index_; }

  // What the team's threads wrote before is there for all of them. In memory it is to be read with load_fresh.
  MHC_FN void meet() {
    sync_block();
    if (blocks_ == 1) return;
    if (thread_index() == 0) {
      target_ += static_cast<uint32_t>(blocks_);
      add_release(counters_, 1);
      while (static_cast<int32_t>(load_acquire(counters_) - target_) < 0) pause();
    }
    sync_block();
  }
  // The last block to get here leaves the counters as they were found.
  MHC_FN void leave() {
    if (blocks_ == 1) return;
    sync_block();
    if (thread_index() != 0 || fetch_add(counters_ + 1, 1) + 1 < static_cast<uint32_t>(blocks_)) return;
    store1(counters_, 0u);
    store1(counters_ + 1, 0u);
  }

 private:
  const int blocks_, rank_;
  const int64_t index_;
  uint32_t* const counters_;
  uint32_t target_ = 0;
};

}  // namespace mhc::cuda
