// SPDX-License-Identifier: Apache-2.0
// Alternating normalisation of one matrix that does not fit into lanes, and back.
//
// The mathematics is in lanes/sinkhorn_large.h. A half-step of rows and the sums that the following half-step of columns
// wants are one pass over K. Rows are cut into blocks by the matrix's size alone, each has column sums of its own, and these
// are added up in order: results do not depend on the threads.
#pragma once

#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

// Who works on the blocks of one matrix: the pool, or one worker alone.
struct Team {
  Pool* pool;
  int worker;

  template <class Task>
  void each(int64_t count, const Task& task) const {
    if (pool) return pool->parallel(count, task);
    for (int64_t index = 0; index < count; ++index) task(worker, index);
  }
};

// Whether the threads share each matrix, rather than take one each.
inline bool share_matrices(int64_t batch, int64_t size, int threads) { return size >= 256 && batch < 2 * threads; }

enum class Direction { Forward, Backward, BackwardAdding };  // writing gradients, adding to them

// Bytes for a matrix, and for each worker on it.
size_t sinkhorn_large_state(const mhc_config& config, int64_t size, Direction direction);
size_t sinkhorn_large_scratch(int64_t size);

struct LargeMatrix {
  const mhc_config& config;
  int64_t size;
  Team team;
  char* state;
  char* scratch;  // of worker 0; the next one's is scratch_step behind
  size_t scratch_step;
};

// Views are of one matrix, [k, k] with contiguous rows.
void sinkhorn_large(const LargeMatrix& matrix, const View& logits, const View& out);
void sinkhorn_large_backward(const LargeMatrix& matrix, const View& logits, const View& d_out, const View& d_logits,
                             bool accumulate);

}  // namespace mhc::cpu::MHC_TIER
