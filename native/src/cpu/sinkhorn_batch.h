// SPDX-License-Identifier: Apache-2.0
// What sinkhorn and its backward share: a batch's small matrices to lanes and back, its large ones one by one.
#pragma once

#include "cpu/sinkhorn_lanes.h"
#include "cpu/sinkhorn_large.h"

namespace mhc::cpu::MHC_TIER {

constexpr int64_t kLaneGroups = 8;  // of W matrices, that a thread takes at a time

// Vectors of an n x n matrix in lanes, with room for a last transposition.
inline size_t lane_entries(int n) { return static_cast<size_t>(n) * n + W; }

// body(offset, length, entry): the contiguous pieces of a matrix at the first of which matrix 0 lies.
template <class Body>
void each_piece(const View& matrices, int n, const Body& body) {
  if (matrices.stride[1] == n || n == 1) return body(int64_t{0}, n * n, 0);
  for (int i = 0; i < n; ++i) body(i * matrices.stride[1], n, i * n);
}

// Matrices first ... first + count - 1 to lanes; count <= W, further lanes are zero. lanes has lane_entries(n).
inline void load_matrices(const View& matrices, int64_t first, int count, int n, F* lanes) {
  each_piece(matrices, n, [&](int64_t offset, int length, int entry) {
    for (int e = 0; e < length; e += W) {
      F tile[W];
      for (int m = 0; m < W; ++m) {
        tile[m] = m < count ? load_upto(matrices.at<float>(first + m) + offset + e, length - e) : zero();
      }
      transpose(tile);
      for (int i = 0; i < W; ++i) lanes[entry + e + i] = tile[i];  // what is too much is written again, or is room
    }
  });
}

inline void store_matrices(const View& matrices, int64_t first, int count, int n, const F* lanes, bool accumulate) {
  each_piece(matrices, n, [&](int64_t offset, int length, int entry) {
    for (int e = 0; e < length; e += W) {
      F tile[W];
      for (int i = 0; i < W; ++i) tile[i] = e + i < length ? lanes[entry + e + i] : zero();
      transpose(tile);
      for (int m = 0; m < count; ++m) {
        float* to = matrices.at<float>(first + m) + offset + e;
        if (accumulate) tile[m] = load_upto(to, length - e) + tile[m];
        store_upto(to, tile[m], length - e);
      }
    }
  });
}

inline View matrix_of(const View& batch, int64_t b) {
  View matrix = batch;
  matrix.data = reinterpret_cast<char*>(batch.at<float>(b));
  matrix.rank = 2;
  for (int d = 0; d < 2; ++d) {
    matrix.shape[d] = batch.shape[d + 1];
    matrix.stride[d] = batch.stride[d + 1];
  }
  return matrix;
}

inline size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

inline Space large_space(const mhc_config& config, int64_t batch, int64_t size, int threads,
                         Direction direction) {
  size_t state = sinkhorn_large_state(config, size, direction), scratch = sinkhorn_large_scratch(size);
  if (share_matrices(batch, size, threads)) return {scratch, state};
  return {whole_lines(state) + scratch, 0};
}

// body(matrix, b) for each matrix of the batch.
template <class Body>
void each_large_matrix(const mhc_config& config, int64_t batch, int64_t size, const Job& job,
                       Direction direction, const Body& body) {
  if (share_matrices(batch, size, job.pool.threads())) {
    for (int64_t b = 0; b < batch; ++b) {
      body(LargeMatrix{config, size, {&job.pool, 0}, job.shared, job.threads, job.per_thread}, b);
    }
    return;
  }
  size_t state = whole_lines(sinkhorn_large_state(config, size, direction));
  job.pool.parallel(batch, [&](int worker, int64_t b) {
    char* own = job.scratch(worker);
    body(LargeMatrix{config, size, {nullptr, 0}, own, own + state, 0}, b);
  });
}

}  // namespace mhc::cpu::MHC_TIER
