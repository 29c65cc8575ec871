// SPDX-License-Identifier: Apache-2.0
// y = x / sqrt(mean(x^2) + eps) * weight, for one row. Every path that makes a y uses this, so that all give the same bits.
#pragma once

#include "cpu/dispatch.h"
#include "cpu/rms.h"

namespace mhc::cpu::MHC_TIER {

// In an order that depends on width alone.
template <class H>
inline float sum_of_squares(const H* x, int64_t width) {
  F part[4] = {zero(), zero(), zero(), zero()};
  int64_t c = 0;
  for (; c + 4 * W <= width; c += 4 * W) {
    for (int k = 0; k < 4; ++k) {
      F v = load(x + c + k * W);
      part[k] = fma(v, v, part[k]);
    }
  }
  for (int k = 0; c < width; c += W, ++k) {
    F v = load_upto(x + c, width - c);
    part[k] = fma(v, v, part[k]);
  }
  return sum((part[0] + part[1]) + (part[2] + part[3]));
}

// Returns 1 / sqrt(mean(x^2) + eps). weight may be nullptr: ones. y may be x; either may be scratch memory.
template <class H>
inline float rmsnorm_row(const H* x, const float* weight, float eps, H* y, int64_t width) {
  float inv_rms = inv_rms_of(sum_of_squares(x, width), width, MHC_RMS_EPS_INSIDE, eps);
  F inv = set(inv_rms);
  if (!weight) {
    for (int64_t c = 0; c < width; c += W) store_upto(y + c, load_upto(x + c, width - c) * inv, width - c);
    return inv_rms;
  }
  for (int64_t c = 0; c < width; c += W) {
    int64_t left = width - c;
    store_upto(y + c, load_upto(x + c, left) * inv * load_upto(weight + c, left), left);
  }
  return inv_rms;
}

}  // namespace mhc::cpu::MHC_TIER
