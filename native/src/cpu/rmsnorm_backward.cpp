// SPDX-License-Identifier: Apache-2.0
// With g = weight * d_y, u = x / r and k = mean(g * u):  d_x = (g - u * k) / r,  d_weight = sum over tokens of d_y * u.
#include "cpu/kernels.h"
#include "cpu/rms.h"
#include "cpu/slabs.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int kGroup = 4;  // tokens whose share of d_weight is added in one step

struct Norm {
  float inv_rms, k;
};

template <class H>
inline F weighted(const float* weight, int64_t c, const H* d_y, int64_t left) {
  F g = load_upto(d_y + c, left);
  return weight ? load_upto(weight + c, left) * g : g;
}

template <class H>
Norm norm_of(const H* x, const H* d_y, const float* weight, int64_t width, float eps) {
  F squares[2] = {zero(), zero()}, products[2] = {zero(), zero()};
  for (int64_t c = 0, k = 0; c < width; c += W, k ^= 1) {
    F v = load_upto(x + c, width - c);
    squares[k] = fma(v, v, squares[k]);
    products[k] = fma(v, weighted(weight, c, d_y, width - c), products[k]);
  }
  float inv_rms = inv_rms_of(sum(squares[0] + squares[1]), width, MHC_RMS_EPS_INSIDE, eps);
  return {inv_rms, sum(products[0] + products[1]) * inv_rms / static_cast<float>(width)};
}

// count tokens from first on, at most kGroup of them. d_weight is the slab's row, or nullptr.
template <class H>
void backward_group(const RmsnormBackwardProblem& p, int64_t first, int count, float* d_weight) {
  const float* weight = p.weight ? p.weight.at<float>() : nullptr;
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs;
  const H *x[kGroup], *d_y[kGroup];
  H* d_x[kGroup];
  Norm norm[kGroup];
  for (int t = 0; t < count; ++t) {
    x[t] = p.x.at<H>(first + t);
    d_y[t] = p.d_y.at<H>(first + t);
    d_x[t] = p.d_x.at<H>(first + t);
    norm[t] = norm_of(x[t], d_y[t], weight, width, p.eps);
  }
  for (int64_t c = 0; c < width; c += W) {
    int64_t left = width - c;
    F w = weight ? load_upto(weight + c, left) : set(1.0f);
    F total = d_weight ? load_upto(d_weight + c, left) : zero();
    for (int t = 0; t < count; ++t) {
      F inv = set(norm[t].inv_rms), g = load_upto(d_y[t] + c, left), u = load_upto(x[t] + c, left) * inv;
      total = fma(g, u, total);
      F value = (w * g - u * set(norm[t].k)) * inv;
      if (accumulate) value = load_upto(d_x[t] + c, left) + value;
      store_upto(d_x[t] + c, value, left);
    }
    if (d_weight) store_upto(d_weight + c, total, left);
  }
}

}  // namespace

Space rmsnorm_backward_space(const RmsnormBackwardProblem& p, int) {
  if (!p.d_weight) return {};
  return {0, Slabs(p.sizes.tokens, p.sizes.width).bytes()};
}

void rmsnorm_backward(const RmsnormBackwardProblem& p, const Job& job) {
  Slabs slabs(p.sizes.tokens, p.sizes.width);
  with_row_type(p.x.type, [&](auto tag) {
    job.pool.parallel(slabs.count, [&](int, int64_t slab) {
      float* d_weight = p.d_weight ? slabs.row(job.shared, slab) : nullptr;
      if (d_weight) clear(d_weight, p.sizes.width);
      for (int64_t t = slabs.first(slab); t < slabs.last(slab); t += kGroup) {
        int count = static_cast<int>(std::min<int64_t>(kGroup, slabs.last(slab) - t));
        backward_group<typename decltype(tag)::type>(p, t, count, d_weight);
      }
    });
  });
  if (p.d_weight) sum_slabs(job.pool, slabs, job.shared, p.d_weight.at<float>(), p.accumulate_parameters);
}

}  // namespace mhc::cpu::MHC_TIER
