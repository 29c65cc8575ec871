// SPDX-License-Identifier: Apache-2.0
// With g = weight * d_y, u = x / r and k = mean(g * u):  d_x = (g - u * k) / r,  d_weight = sum over tokens of d_y * u.
#include "core/arguments.h"
#include "cpu/kernels.h"
#include "lanes/rms.h"
#include "cpu/slabs.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int kGroup = 4;  // tokens whose share of d_weight is added in one step

struct Norm {
  float inv_rms, k;
};

// Copies both rows, in whole vectors, to where they are looked at again.
template <class H>
Norm norm_of(const H* x, const H* d_y, const float* weight, int64_t width, float eps, H* kept_x, H* kept_d_y) {
  F squares[2] = {zero(), zero()}, products[2] = {zero(), zero()};
  for (int64_t c = 0, k = 0; c < width; c += W, k ^= 1) {
    int64_t left = width - c;
    copy_upto(x + c, kept_x + c, left);
    copy_upto(d_y + c, kept_d_y + c, left);
    F v = load(kept_x + c), g = load(kept_d_y + c);
    if (weight) g = load_upto(weight + c, left) * g;
    squares[k] = fma(v, v, squares[k]);
    products[k] = fma(v, g, products[k]);
  }
  float inv_rms = inv_rms_of(sum(squares[0] + squares[1]), width, MHC_RMS_EPS_INSIDE, eps);
  return {inv_rms, sum(products[0] + products[1]) * inv_rms / static_cast<float>(width)};
}

int64_t pitch_of(const Sizes& sizes) { return (sizes.width + 31) / 32 * 32; }

// count tokens from first on, at most kGroup of them. d_weight is the slab's row, or nullptr. kept has room for their rows.
template <class H>
void backward_group(const RmsnormBackwardProblem& p, int64_t first, int count, float* d_weight, H* kept) {
  const float* weight = p.weight ? p.weight.at<float>() : nullptr;
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs;
  H *x[kGroup], *d_y[kGroup], *d_x[kGroup];
  Norm norm[kGroup];
  for (int t = 0; t < count; ++t) {
    x[t] = kept + 2 * t * pitch_of(p.sizes);
    d_y[t] = x[t] + pitch_of(p.sizes);
    d_x[t] = p.d_x.at<H>(first + t);
    norm[t] = norm_of(p.x.at<H>(first + t), p.d_y.at<H>(first + t), weight, width, p.eps, x[t], d_y[t]);
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
  const size_t rows = static_cast<size_t>(2 * kGroup * pitch_of(p.sizes)) * size_of(p.x.type);
  return {rows, p.d_weight ? Slabs(p.sizes.tokens, p.sizes.width).bytes() : 0};
}

void rmsnorm_backward(const RmsnormBackwardProblem& p, const Job& job) {
  Slabs slabs(p.sizes.tokens, p.sizes.width);
  with_row_type(p.x.type, [&](auto tag) {
    using H = typename decltype(tag)::type;
    job.pool.parallel(slabs.count, [&](int worker, int64_t slab) {
      float* d_weight = p.d_weight ? slabs.row(job.shared, slab) : nullptr;
      if (d_weight) clear(d_weight, p.sizes.width);
      for (int64_t t = slabs.first(slab); t < slabs.last(slab); t += kGroup) {
        int count = static_cast<int>(std::min<int64_t>(kGroup, slabs.last(slab) - t));
        backward_group(p, t, count, d_weight, reinterpret_cast<H*>(job.scratch(worker)));
      }
    });
  });
  if (p.d_weight) sum_slabs(job.pool, slabs, job.shared, p.d_weight.at<float>(), p.accumulate_parameters);
}

}  // namespace mhc::cpu::MHC_TIER
