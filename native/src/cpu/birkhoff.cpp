// SPDX-License-Identifier: Apache-2.0
#include "lanes/birkhoff.h"

#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

struct Sorter : Alone {
  void sort(double* value, int count, double*) const { std::sort(value, value + count); }
};

void decompose(const BirkhoffProblem& p, int64_t b) {
  const int n = p.size;
  BirkhoffScratch scratch;
  Birkhoff<Sorter> birkhoff({}, n, scratch);
  birkhoff.enter([&](int i, int j) { return load1(p.matrix.at<float>(b, i, j)); });
  int64_t terms = 0;
  for (; terms < p.terms_limit; ++terms) {
    const double weight = birkhoff.next();
    if (weight == 0) break;
    store1(p.weight.at<float>(b, terms), static_cast<float>(weight));
    for (int i = 0; i < n; ++i) store1(p.permutation.at<int32_t>(b, terms, i), static_cast<int32_t>(birkhoff.column_of(i)));
  }
  for (int64_t k = terms; k < p.terms_limit; ++k) {
    store1(p.weight.at<float>(b, k), 0.0f);
    for (int i = 0; i < n; ++i) store1(p.permutation.at<int32_t>(b, k, i), static_cast<int32_t>(i));
  }
  if (p.terms) store1(p.terms.at<int32_t>(b), static_cast<int32_t>(terms));
  if (p.remainder) store1(p.remainder.at<float>(b), static_cast<float>(birkhoff.largest_left()));
}

}  // namespace

Space birkhoff_space(const BirkhoffProblem&, int) { return {}; }

void birkhoff(const BirkhoffProblem& p, const Job& job) {
  for_token_blocks(job.pool, p.batch, 8, [&](int, int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) decompose(p, b);
  });
}

}  // namespace mhc::cpu::MHC_TIER
