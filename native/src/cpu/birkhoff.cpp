// SPDX-License-Identifier: Apache-2.0
// Each term is a perfect matching whose smallest entry is as large as can be: the largest threshold at which the entries
// that reach it still have one. Its smallest entry is taken off, which leaves at least one entry less.
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// Entries left over, exact differences of the given ones or nearly so.
struct Matrix {
  int n;
  double entry[kMaxStreams][kMaxStreams];

  bool usable(int row, int column) const { return entry[row][column] > 0 && entry[row][column] < INFINITY; }
};

// A perfect matching by augmenting paths, over the allowed columns of each row.
class Matching {
 public:
  Matching(const Matrix& matrix, double threshold) : n_(matrix.n) {
    for (int i = 0; i < n_; ++i) {
      allowed_[i] = 0;
      row_of_[i] = -1;
      for (int j = 0; j < n_; ++j) {
        if (matrix.usable(i, j) && matrix.entry[i][j] >= threshold) allowed_[i] |= 1u << j;
      }
    }
  }

  // The column of each row; false if there is no perfect matching.
  bool find(int* column_of) {
    for (int i = 0; i < n_; ++i) {
      visited_ = 0;
      if (!augment(i)) return false;
    }
    for (int j = 0; j < n_; ++j) column_of[row_of_[j]] = j;
    return true;
  }

 private:
  bool augment(int row) {
    while (uint32_t open = allowed_[row] & ~visited_) {
      int column = __builtin_ctz(open);
      visited_ |= 1u << column;
      if (row_of_[column] < 0 || augment(row_of_[column])) {
        row_of_[column] = row;
        return true;
      }
    }
    return false;
  }

  int n_;
  uint32_t allowed_[kMaxStreams], visited_ = 0;
  int row_of_[kMaxStreams];
};

// The matching with the largest smallest entry, which comes back; 0 if there is none.
double bottleneck(const Matrix& matrix, int* column_of) {
  double value[kMaxStreams * kMaxStreams];
  int count = 0;
  for (int i = 0; i < matrix.n; ++i) {
    for (int j = 0; j < matrix.n; ++j) {
      if (matrix.usable(i, j)) value[count++] = matrix.entry[i][j];
    }
  }
  std::sort(value, value + count);
  count = static_cast<int>(std::unique(value, value + count) - value);
  int found = -1;  // the largest index known to have a matching
  for (int low = 0, high = count - 1; low <= high;) {
    int middle = (low + high) / 2;
    if (Matching(matrix, value[middle]).find(column_of)) {
      found = middle;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  if (found < 0) return 0;
  return value[found];
}

void decompose(const BirkhoffProblem& p, int64_t b) {
  Matrix left;
  left.n = p.size;
  for (int i = 0; i < left.n; ++i) {
    for (int j = 0; j < left.n; ++j) left.entry[i][j] = load1(p.matrix.at<float>(b, i, j));
  }
  int64_t terms = 0;
  for (; terms < p.terms_limit; ++terms) {
    int column_of[kMaxStreams];
    double weight = bottleneck(left, column_of);
    if (weight == 0) break;
    store1(p.weight.at<float>(b, terms), static_cast<float>(weight));
    for (int i = 0; i < left.n; ++i) {
      store1(p.permutation.at<int32_t>(b, terms, i), static_cast<int32_t>(column_of[i]));
      left.entry[i][column_of[i]] -= weight;
    }
  }
  for (int64_t k = terms; k < p.terms_limit; ++k) {
    store1(p.weight.at<float>(b, k), 0.0f);
    for (int i = 0; i < left.n; ++i) store1(p.permutation.at<int32_t>(b, k, i), static_cast<int32_t>(i));
  }
  if (p.terms) store1(p.terms.at<int32_t>(b), static_cast<int32_t>(terms));
  if (!p.remainder) return;
  double most = 0;
  for (int i = 0; i < left.n; ++i) {
    for (int j = 0; j < left.n; ++j) {
      double entry = std::fabs(left.entry[i][j]);
      if (entry > most || entry != entry) most = entry;  // a NaN stays
    }
  }
  store1(p.remainder.at<float>(b), static_cast<float>(most));
}

}  // namespace

Space birkhoff_space(const BirkhoffProblem&, int) { return {}; }

void birkhoff(const BirkhoffProblem& p, const Job& job) {
  for_token_blocks(job.pool, p.batch, 8, [&](int, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) decompose(p, b);
  });
}

}  // namespace mhc::cpu::MHC_TIER
