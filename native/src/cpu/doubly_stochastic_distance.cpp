// SPDX-License-Identifier: Apache-2.0
// Sums are taken in double precision, so that the distance is that of the matrix and not of its summation.
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int64_t kStrip = 256;  // columns whose sums are kept at a time
constexpr int64_t kWhole = 64;   // up to this size a matrix is one piece of work

// Rows and columns [first, last) of a matrix.
struct Range {
  int64_t first, last;
};

struct Distance {
  double value = 0;
  bool unclear = false;  // a sum is not a number: some entry is none, or there are infinities of both signs

  void take(double deviation) { value = deviation > value ? deviation : value; }
  void take_sum(double sum) {
    take(std::fabs(sum - 1));
    unclear |= sum != sum;
  }
  void take(const Distance& other) {
    take(other.value);
    unclear |= other.unclear;
  }
};

// Entries of a rectangle, its row sums (where it has all columns) and its column sums (where it has all rows and at most
// kStrip columns).
Distance scan(const View& matrix, int64_t batch, Range rows, Range columns, bool row_sums, bool column_sums) {
  constexpr int kLanes = 8;
  Distance distance;
  F least = zero();
  double column[kStrip];
  if (column_sums) std::fill(column, column + (columns.last - columns.first), 0.0);
  for (int64_t r = rows.first; r < rows.last; ++r) {
    double sum[kLanes] = {};
    for (int64_t c = columns.first; c < columns.last; c += kStrip) {
      const float* entry = matrix.at<float>(batch, r) + c;
      const int count = static_cast<int>(std::min(kStrip, columns.last - c));
      float strip[kStrip];
      for (int k = 0; k < count; k += W) {
        F v = load_upto(entry + k, count - k);
        least = min(least, v);
        store(strip + k, v);
      }
      if (row_sums) {
        int k = 0;
        for (; k + kLanes <= count; k += kLanes) {
          for (int lane = 0; lane < kLanes; ++lane) sum[lane] += strip[k + lane];
        }
        for (int lane = 0; k < count; ++k, ++lane) sum[lane] += strip[k];
      }
      if (column_sums) {
        for (int k = 0; k < count; ++k) column[k] += strip[k];
      }
    }
    if (row_sums) {
      distance.take_sum(((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7])));
    }
  }
  distance.take(max_of(zero() - least));
  if (column_sums) {
    for (int64_t c = 0; c < columns.last - columns.first; ++c) distance.take_sum(column[c]);
  }
  return distance;
}

float result_of(const Distance& distance, const View& matrix, int64_t batch, int64_t size) {
  if (!distance.unclear) return static_cast<float>(distance.value);
  for (int64_t r = 0; r < size; ++r) {
    for (int64_t c = 0; c < size; ++c) {
      float entry = load1(matrix.at<float>(batch, r) + c);
      if (entry != entry) return entry;
    }
  }
  return INFINITY;
}

// Bands of rows and strips of columns, by all threads; a thread's largest is in its scratch.
Distance scan_large(const DoublyStochasticDistanceProblem& p, const Job& job, int64_t batch) {
  const int64_t k = p.size, pieces = (k + kStrip - 1) / kStrip;
  auto worst_of = [&](int worker) { return reinterpret_cast<Distance*>(job.scratch(worker)); };
  for (int worker = 0; worker < job.pool.threads(); ++worker) *worst_of(worker) = Distance{};
  job.pool.parallel(2 * pieces, [&](int worker, int64_t index) {
    int64_t piece = index / 2 * kStrip;
    Range part{piece, std::min(k, piece + kStrip)}, all{0, k};
    bool rows = index % 2 == 0;
    worst_of(worker)->take(rows ? scan(p.matrix, batch, part, all, true, false)
                                : scan(p.matrix, batch, all, part, false, true));
  });
  Distance worst;
  for (int worker = 0; worker < job.pool.threads(); ++worker) worst.take(*worst_of(worker));
  return worst;
}

}  // namespace

Space doubly_stochastic_distance_space(const DoublyStochasticDistanceProblem& p, int) {
  return {p.size > kWhole ? sizeof(Distance) : 0, 0};
}

void doubly_stochastic_distance(const DoublyStochasticDistanceProblem& p, const Job& job) {
  const int64_t k = p.size;
  if (k > kWhole) {
    for (int64_t b = 0; b < p.batch; ++b) {
      store1(p.distance.at<float>(b), result_of(scan_large(p, job, b), p.matrix, b, k));
    }
    return;
  }
  const int64_t block = std::max<int64_t>(1, 16384 / (k * k));
  for_token_blocks(job.pool, p.batch, block, [&](int, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      store1(p.distance.at<float>(b), result_of(scan(p.matrix, b, {0, k}, {0, k}, true, true), p.matrix, b, k));
    }
  });
}

}  // namespace mhc::cpu::MHC_TIER
