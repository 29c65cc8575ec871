// SPDX-License-Identifier: Apache-2.0
// A matrix to a warp: thresholds are prepared by all lanes, matchings are found by one.
#include "lanes/birkhoff.h"

#include "cuda/crew.h"
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

constexpr int kBlockThreads = 128, kWarps = kBlockThreads / 32;

struct Arguments {
  int64_t batch, terms_limit;
  int size;
  Array<const float> matrix;
  Array<float> weight, remainder;
  Array<int32_t> permutation, terms;
};

MHC_FN void decompose(const Arguments& a, int64_t b, BirkhoffScratch& scratch) {
  const WarpCrew crew{};
  Birkhoff<WarpCrew> birkhoff(crew, a.size, scratch);
  birkhoff.enter([&](int i, int j) MHC_INLINE { return load1(a.matrix.at(b, i, j)); });
  int64_t terms = 0;
  for (; terms < a.terms_limit; ++terms) {
    const double weight = birkhoff.next();
    if (weight == 0.0) break;
    if (crew.leads()) store1(a.weight.at(b, terms), static_cast<float>(weight));
    crew.each(a.size, [&](int i) MHC_INLINE { store1(a.permutation.at(b, terms, i), static_cast<int32_t>(birkhoff.column_of(i))); });
  }
  for (int64_t k = terms; k < a.terms_limit; ++k) {
    if (crew.leads()) store1(a.weight.at(b, k), 0.0f);
    crew.each(a.size, [&](int i) MHC_INLINE { store1(a.permutation.at(b, k, i), static_cast<int32_t>(i)); });
  }
  if (!crew.leads()) return;
  if (a.terms) store1(a.terms.at(b), static_cast<int32_t>(terms));
  if (a.remainder) store1(a.remainder.at(b), static_cast<float>(birkhoff.largest_left()));
}

MHC_KERNEL(kBlockThreads) birkhoff_kernel(const Arguments a) {
  const int warp = thread_index() / 32;
  BirkhoffScratch& scratch = reinterpret_cast<BirkhoffScratch*>(shared_memory())[warp];
  for (int64_t b = block_index() * kWarps + warp; b < a.batch; b += block_count() * kWarps) decompose(a, b, scratch);
}

}  // namespace

size_t birkhoff_space(const BirkhoffProblem&, const DeviceProperties&) { return 0; }

void birkhoff(const BirkhoffProblem& p, Job& job) {
  const Arguments a{p.batch, p.terms_limit, p.size, Array<const float>(p.matrix), Array<float>(p.weight), Array<float>(p.remainder),
                    Array<int32_t>(p.permutation), Array<int32_t>(p.terms)};
  const int64_t blocks = (p.batch + kWarps - 1) / kWarps, most = int64_t{16} * job.device.multiprocessors;
  job.launch({blocks < most ? blocks : most, kBlockThreads, kWarps * sizeof(BirkhoffScratch)}, birkhoff_kernel, a);
}

}  // namespace mhc::cuda
