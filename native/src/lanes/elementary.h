// SPDX-License-Identifier: Apache-2.0
// The functions of one variable that coefficients are made of.
#pragma once

#include "lanes/target.h"

namespace MHC_LANES {

// e^x to 1 ulp or so; underflows gradually, overflows to infinity, keeps NaN.
MHC_FN F exp(F x) {
  x = max(set(-104.5f), min(set(89.0f), x));
  F k = round_even(x * set(1.44269504088896341f));
  F r = fma(k, set(-0.693359375f), x);
  r = fma(k, set(2.12194440e-4f), r);
  F p = set(1.9875691500e-4f);
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(p, r * r, r + set(1.0f));
  F half = round_even(k * set(0.5f));  // in two steps, so that neither 2^k over- nor underflows too early
  return scale2(scale2(p, half), k - half);
}

// By way of exp(-|x|), which does not overflow: what is far below zero underflows gradually.
MHC_FN F sigmoid(F x) {
  F t = exp(zero() - abs(x));
  return select_less(x, zero(), t, set(1.0f)) / (set(1.0f) + t);
}

// Its derivative t / (1 + t)^2 with t = exp(-|x|), without a difference that cancels; that of tanh is 4 times it at 2x.
MHC_FN F sigmoid_slope(F x) {
  F t = exp(zero() - abs(x));
  F scale = set(1.0f) / (set(1.0f) + t);
  return t * scale * scale;
}

MHC_FN F tanh(F x) {
  F z = x * x;
  F p = set(-5.70498872745e-3f);
  p = fma(p, z, set(2.06390887954e-2f));
  p = fma(p, z, set(-5.37397155531e-2f));
  p = fma(p, z, set(1.33314422036e-1f));
  p = fma(p, z, set(-3.33332819422e-1f));
  F near = fma(p * z, x, x);
  F magnitude = set(1.0f) - set(2.0f) / (exp(abs(x) * set(2.0f)) + set(1.0f));
  F far = select_less(x, zero(), zero() - magnitude, magnitude);
  return select_less(abs(x), set(0.625f), near, far);
}

}  // namespace MHC_LANES
