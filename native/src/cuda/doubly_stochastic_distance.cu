// SPDX-License-Identifier: Apache-2.0
// Sums are taken in double precision, so that the distance is that of the matrix and not of its summation. Up to 16 x 16 a
// matrix to a thread; beyond, bands of rows and columns of bands, whose worst go to the workspace, then a matrix to a block.
#include "cuda/rows.h"
#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

constexpr int64_t kBandRows = 64;
constexpr int kWarps = kThreads / 32;

struct Arguments {
  int64_t batch, size, bands;
  Array<const float> matrix;
  Array<float> distance;
  float* of_rows;    // [batch][size]
  double* of_bands;  // [batch][band][size]: sums of columns
};

// The largest deviation. Where a sum is not a number, as an entry is none or there are infinities of both signs: NaN for
// the one, which wins over all, infinity for the other.
class Distance {
 public:
  MHC_FN void take_entry(float entry) {
    least_ = entry < least_ ? entry : least_;
    nan_ = nan_ || entry != entry;
  }
  MHC_FN void take_sum(double sum) {
    const double deviation = fabs(sum - 1.0);
    worst_ = deviation > worst_ ? deviation : worst_;
    unclear_ = unclear_ || sum != sum;
  }
  MHC_FN float value() const {
    if (nan_) return NAN;
    if (unclear_) return HUGE_VALF;
    return static_cast<float>(worst_ > -static_cast<double>(least_) ? worst_ : -static_cast<double>(least_));
  }

 private:
  double worst_ = 0.0;
  float least_ = 0.0f;
  bool nan_ = false, unclear_ = false;
};

MHC_KERNEL(kThreads) small_kernel(const Arguments a) {
  for_each_of(a.batch, [&](int64_t b) {
    Distance distance;
    for (int64_t i = 0; i < a.size; ++i) {
      double row = 0.0, column = 0.0;
      for (int64_t j = 0; j < a.size; ++j) {
        const float entry = load1(a.matrix.at(b, i, j));
        distance.take_entry(entry);
        row += entry;
        column += load1(a.matrix.at(b, j, i));
      }
      distance.take_sum(row);
      distance.take_sum(column);
    }
    store1(a.distance.at(b), distance.value());
  });
}

// A row to a warp.
MHC_KERNEL(kThreads) rows_kernel(const Arguments a) {
  double* sums = reinterpret_cast<double*>(shared_memory());
  const int warp = thread_index() / 32, lane = thread_index() % 32;
  for (int64_t row = block_index() * kWarps + warp; row < a.batch * a.size; row += block_count() * kWarps) {
    Distance distance;
    double sum = 0.0;
    const float* entries = a.matrix.at(row / a.size, row % a.size);
#pragma unroll 4
    for (int64_t j = lane; j < a.size; j += 32) {
      const float entry = load1(entries + j);
      distance.take_entry(entry);
      sum += entry;
    }
    sums[thread_index()] = sum;
    sync_warp();
    if (lane == 0) {
      for (int l = 1; l < 32; ++l) sum += sums[thread_index() + l];
      distance.take_sum(sum);
    }
    sync_warp();
    const float worst = over_warp(distance.value(), Largest{});
    if (lane == 0) store1(a.of_rows + row, worst);
  }
}

// A column of a band to a thread.
MHC_KERNEL(kThreads) bands_kernel(const Arguments a) {
  for_each_of(a.batch * a.bands * a.size, [&](int64_t index) {
    const int64_t j = index % a.size, band = index / a.size % a.bands, b = index / a.size / a.bands;
    const int64_t last = (band + 1) * kBandRows < a.size ? (band + 1) * kBandRows : a.size;
    double sum = 0.0;
#pragma unroll 8
    for (int64_t i = band * kBandRows; i < last; ++i) sum += load1(a.matrix.at(b, i, j));
    store1(a.of_bands + index, sum);
  });
}

MHC_KERNEL(kThreads) worst_kernel(const Arguments a) {
  OverBlock<1, Largest> over_block(reinterpret_cast<float*>(shared_memory()));
  for (int64_t b = block_index(); b < a.batch; b += block_count()) {
    float worst[1] = {0.0f};
    for (int64_t j = thread_index(); j < a.size; j += kThreads) {
      double sum = 0.0;
      for (int64_t band = 0; band < a.bands; ++band) sum += load1(a.of_bands + (b * a.bands + band) * a.size + j);
      Distance column;
      column.take_sum(sum);
      worst[0] = Largest{}(Largest{}(worst[0], column.value()), load1(a.of_rows + b * a.size + j));
    }
    over_block.put(worst);
    if (thread_index() == 0) store1(a.distance.at(b), over_block.total(0));
  }
}

size_t lay_out(const DoublyStochasticDistanceProblem& p, char* base, Arguments* a) {
  if (p.size <= kMaxStreams) return 0;
  Pieces pieces(base);
  a->bands = (p.size + kBandRows - 1) / kBandRows;
  a->of_rows = pieces.take<float>(p.batch * p.size);
  a->of_bands = pieces.take<double>(p.batch * a->bands * p.size);
  return pieces.used();
}

}  // namespace

size_t doubly_stochastic_distance_space(const DoublyStochasticDistanceProblem& p, const DeviceProperties&) {
  Arguments a = {};
  return lay_out(p, nullptr, &a);
}

void doubly_stochastic_distance(const DoublyStochasticDistanceProblem& p, Job& job) {
  Arguments a = {p.batch, p.size, 0, Array<const float>(p.matrix), Array<float>(p.distance), nullptr, nullptr};
  lay_out(p, job.workspace, &a);
  if (p.size <= kMaxStreams) return job.launch(share(a.batch, job.device), small_kernel, a);
  Grid rows = share(a.batch * a.size * 32, job.device);
  rows.shared_bytes = kThreads * sizeof(double);
  job.launch(rows, rows_kernel, a);
  job.launch(share(a.batch * a.bands * a.size, job.device), bands_kernel, a);
  const int64_t most = int64_t{8} * job.device.multiprocessors;
  job.launch({a.batch < most ? a.batch : most, kThreads, OverBlock<1, Largest>::floats(kThreads) * sizeof(float)}, worst_kernel, a);
}

}  // namespace mhc::cuda
