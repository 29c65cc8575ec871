// SPDX-License-Identifier: Apache-2.0
// y = x / sqrt(mean(x^2) + eps) * weight, for one row. Every path that makes a y uses this, so that all give the same bits.
#pragma once

#include "cpu/dispatch.h"
#include "lanes/rms.h"

namespace mhc::cpu::MHC_TIER {

// In an order that depends on width alone. Where kept is given the row is copied to it, in whole vectors.
template <bool kKeep, class H>
inline float sum_of_squares(const H* x, int64_t width, H* kept) {
  F part[4] = {zero(), zero(), zero(), zero()};
  auto step = [&](int64_t c, int k) {
    Packed<H> packed = load_packed(x + c);
    if constexpr (kKeep) store(kept + c, packed);
    F v = unpack(packed);
    part[k] = fma(v, v, part[k]);
  };
  int64_t c = 0;
  for (; c + 4 * W <= width; c += 4 * W) {
    for (int k = 0; k < 4; ++k) step(c + k * W, k);
  }
  int k = 0;
  for (; c + W <= width; c += W, ++k) step(c, k);
  if (c < width) {
    if constexpr (kKeep) copy(x + c, kept + c, static_cast<int>(width - c));
    F v = kKeep ? load(kept + c) : load_upto(x + c, width - c);
    part[k] = fma(v, v, part[k]);
  }
  return sum((part[0] + part[1]) + (part[2] + part[3]));
}

// y = x * inv_rms * weight. weight may be nullptr: ones. y may be x.
template <class H>
inline void scale_row(const H* x, const float* weight, float inv_rms, H* y, int64_t width) {
  F inv = set(inv_rms);
  for (int64_t c = 0; c < width; c += W) {
    int64_t left = width - c;
    F value = load_upto(x + c, left) * inv;
    if (weight) value = value * load_upto(weight + c, left);
    store_upto(y + c, value, left);
  }
}

// Returns 1 / sqrt(mean(x^2) + eps), for an x in scratch memory, which is looked at twice.
template <class H>
inline float rmsnorm_row(const H* x, const float* weight, float eps, H* y, int64_t width) {
  float squares = sum_of_squares<false>(x, width, static_cast<H*>(nullptr));
  float inv_rms = inv_rms_of(squares, width, MHC_RMS_EPS_INSIDE, eps);
  scale_row(x, weight, inv_rms, y, width);
  return inv_rms;
}

// The same for an x in memory, which is read once: kept is scratch for whole vectors of it.
template <class H>
inline float rmsnorm_row(const H* x, const float* weight, float eps, H* y, int64_t width, H* kept) {
  float squares = sum_of_squares<true>(x, width, kept);
  float inv_rms = inv_rms_of(squares, width, MHC_RMS_EPS_INSIDE, eps);
  scale_row(kept, weight, inv_rms, y, width);
  return inv_rms;
}

}  // namespace mhc::cpu::MHC_TIER
