// SPDX-License-Identifier: Apache-2.0
#include "cuda/weight_gradients.h"

#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  WeightParts parts;
  int m, n;
  int64_t width;
  bool accumulate;
  Array<const float> projection, weight;
  Array<float> d_projection, d_weight, d_norm_weight;
};

MHC_FN void put(float* to, float value, bool accumulate) { store1(to, accumulate ? load1(to) + value : value); }

// A channel of a stream to a thread.
MHC_KERNEL(kThreads) projection_kernel(const Arguments a) {
  for_each_of(a.n * a.width, [&](int64_t index) {
    const int64_t i = index / a.width, c = index % a.width, step = int64_t{a.m} * a.n * a.parts.pitch;
    const float weight = a.weight ? load1(a.weight.at() + index) : 1.0f;
    float d_weight = 0.0f;
    for (int j = 0; j < a.m; ++j) {
      const float* part = a.parts.projection + (int64_t{j} * a.n + i) * a.parts.pitch + c;
      float total = a.parts.count > 0 ? load1(part) : 0.0f;
      for (int k = 1; k < a.parts.count; ++k) total += load1(part + k * step);
      if (a.d_weight) d_weight = fmaf(total, load1(a.projection.at(j) + index), d_weight);
      if (a.d_projection) put(a.d_projection.at(j) + index, total * weight, a.accumulate);
    }
    if (a.d_weight) put(a.d_weight.at() + index, d_weight, a.accumulate);
  });
}

MHC_KERNEL(kThreads) norm_kernel(const Arguments a) {
  for_each_of(a.width, [&](int64_t c) {
    float total = 0.0f;
    for (int k = 0; k < a.parts.count; ++k) total += load1(a.parts.norm + k * a.parts.pitch + c);
    put(a.d_norm_weight.at() + c, total, a.accumulate);
  });
}

}  // namespace

void sum_weight_gradients(const BoundaryBackwardProblem& p, const WeightParts& parts, Job& job) {
  const Arguments a{parts, static_cast<int>(p.sizes.mix_count), p.sizes.streams, p.sizes.width, p.accumulate_parameters,
                    Array<const float>(p.parameters.projection), Array<const float>(p.parameters.norm_weight),
                    Array<float>(p.d_parameters.projection), Array<float>(p.d_parameters.norm_weight), Array<float>(p.d_norm_weight)};
  if (wants_projection(p)) job.launch(share(a.n * a.width, job.device), projection_kernel, a);
  if (p.d_norm_weight) job.launch(share(a.width, job.device), norm_kernel, a);
}

}  // namespace mhc::cuda
