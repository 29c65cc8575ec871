// SPDX-License-Identifier: Apache-2.0
// Alternating normalisation of one matrix that does not fit into lanes: what a config comes to, and the steps of single rows
// and columns. Who has which rows is the matter of cpu/sinkhorn_large.cpp and cuda/sinkhorn_large.h.
//
// M = K[i][j] u[i] v[j], and K = exp(L[i][j] + shift[i] + f[i] + g[j]) (plus eps exp(f[i] + g[j]) after a softmax). Half-steps
// change u and v alone, one pass over K for both of an iteration. When one of them has moved far, its logarithm goes into f
// or g and K is made again from the logits, so that nothing overflows and what had underflowed comes back.
#pragma once

#include <cmath>

#include "lanes/elementary.h"
#include "mhc/mhc.h"

namespace MHC_LANES {

// The alternation as a list of iterations, each a half-step of rows, then one of columns.
struct LargePlan {
  static constexpr float kFar = 0x1p32f, kMostFactor = 1e30f;

  int64_t k;
  int first, last;  // iteration 0 has columns alone
  bool softmax, rows_first;
  int32_t start, eps_mode;
  float eps, start_eps;

  MHC_HOST_DEVICE LargePlan(const mhc_config& config, int64_t size)
      : k(size),
        last(config.iterations),
        rows_first(config.sinkhorn_order == MHC_SINKHORN_ROWS_FIRST),
        start(config.sinkhorn_start),
        eps_mode(config.sinkhorn_eps == 0.0f ? MHC_EPS_NONE : config.sinkhorn_eps_mode),
        eps(config.sinkhorn_eps) {
    first = rows_first ? 1 : 0;
    bool row_scale_is_free = rows_first && eps_mode == MHC_EPS_NONE;
    if (start == MHC_SINKHORN_EXP_MINUS_ROW_MAX && row_scale_is_free) start = MHC_SINKHORN_EXP;
    if (start == MHC_SINKHORN_SOFTMAX_PLUS_EPS && row_scale_is_free && eps == 0.0f) start = MHC_SINKHORN_EXP;
    softmax = start == MHC_SINKHORN_SOFTMAX_PLUS_EPS;
    start_eps = softmax ? eps : 0.0f;
  }
  MHC_HOST_DEVICE int count() const { return last - first + 1; }
  MHC_HOST_DEVICE bool has_rows(int t) const { return t > 0 && !(t == 1 && softmax && rows_first); }
  MHC_HOST_DEVICE bool has_columns(int t) const { return rows_first || t < last; }
  // Whether iteration t starts from columns whose sums may be out of a float's range.
  MHC_HOST_DEVICE bool columns_in_logarithms(int t) const { return t == 0 && !softmax; }
  // Whether in iteration t a column far below the others may have a sum that vanishes in a float, as rows came first.
  MHC_HOST_DEVICE bool columns_may_vanish(int t) const {
    return t == first && t > 0 && eps_mode == MHC_EPS_NONE && start == MHC_SINKHORN_EXP;
  }

  MHC_FN double divisor(double sum) const {
    if (eps_mode == MHC_EPS_ADD) return sum + eps;
    return eps_mode == MHC_EPS_CLAMP && !(sum > eps) && sum == sum ? eps : sum;
  }
  // d log of the new factor by d log of the old one
  MHC_FN double kept(double sum, double divided_by) const {
    if (eps_mode == MHC_EPS_ADD) return eps / divided_by;
    return eps_mode == MHC_EPS_CLAMP && sum < eps ? 1.0 : 0.0;
  }
  // The gradient of a factor's logarithm that reaches its sum.
  MHC_FN float pull(float gradient, float kept) const {
    return eps_mode == MHC_EPS_CLAMP ? gradient - gradient * kept : gradient;
  }

  // The half-step of a row that was made anew as exp(most + f) times entries that add up to row_sum: what those are to be
  // multiplied by, and the new f.
  struct FreshRow {
    double scale, kept;
    float f;
  };
  MHC_FN FreshRow fresh_row(double row_sum, float most, float f, bool normalise) const {
    const double size = ::exp(static_cast<double>(most) + f);
    if (!normalise) return {size, 0.0, f};
    if (eps_mode == MHC_EPS_NONE || size > 1e300) return {1.0 / row_sum, 0.0, static_cast<float>(-(most + ::log(row_sum)))};
    const double by = divisor(row_sum * size);
    return {size / by, kept(row_sum * size, by), static_cast<float>(f - ::log(by))};
  }

  // u of a row whose entries of K times v add up to sum.
  MHC_FN float row_factor(float sum, float u, float* kept_u) const {
    *kept_u = 0.0f;
    if (eps_mode == MHC_EPS_NONE) return 1.0f / sum;
    const float row_sum = sum * u, by = static_cast<float>(divisor(row_sum));
    *kept_u = static_cast<float>(kept(row_sum, by));
    u = u / by;
    return u > kMostFactor ? kMostFactor : u;
  }

  // v of columns whose entries of K times u add up to total.
  MHC_FN F column_factor(F total, F v, F* kept_v) const {
    *kept_v = zero();
    if (eps_mode == MHC_EPS_NONE) return set(1.0f) / total;
    const F least = set(eps), column_sum = v * total;
    const F by = eps_mode == MHC_EPS_ADD ? column_sum + least : max(least, column_sum);
    *kept_v = eps_mode == MHC_EPS_ADD ? least / by : select_less(column_sum, least, set(1.0f), zero());
    return min(set(kMostFactor), v / by);
  }

  // g after columns_in_logarithms: entries of the column add up to sum exp(-g).
  MHC_FN float column_logarithm(float sum, float g, float* kept_v) const {
    const double size = ::exp(-static_cast<double>(g));
    *kept_v = 0.0f;
    if (eps_mode == MHC_EPS_NONE || !(size < 1e300)) return static_cast<float>(g - ::log(static_cast<double>(sum)));
    const double by = divisor(sum * size);
    *kept_v = static_cast<float>(kept(sum * size, by));
    return static_cast<float>(-::log(by));
  }
};

}  // namespace MHC_LANES
