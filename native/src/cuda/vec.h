// SPDX-License-Identifier: Apache-2.0
// F of a GPU: one number, a token or a matrix to a thread. The words of cpu/vec.h that src/lanes uses.
#pragma once

#include <cmath>

#include "cuda/device.h"

namespace mhc::cuda {

struct F {
  float v;
};

MHC_FN F set(float s) { return {s}; }
MHC_FN F zero() { return {0.0f}; }
MHC_FN F operator+(F a, F b) { return {a.v + b.v}; }
MHC_FN F operator-(F a, F b) { return {a.v - b.v}; }
MHC_FN F operator*(F a, F b) { return {a.v * b.v}; }
MHC_FN F operator/(F a, F b) { return {a.v / b.v}; }
MHC_FN F fma(F a, F b, F c) { return {fmaf(a.v, b.v, c.v)}; }
MHC_FN F min(F a, F b) { return {a.v < b.v ? a.v : b.v}; }
MHC_FN F max(F a, F b) { return {a.v > b.v ? a.v : b.v}; }
MHC_FN F abs(F a) { return {fabsf(a.v)}; }
MHC_FN F sqrt(F a) { return {sqrtf(a.v)}; }
MHC_FN F round_even(F a) { return {rintf(a.v)}; }
MHC_FN F scale2(F a, F k) {
  return {k.v == k.v ? a.v * float_from_bits(static_cast<uint32_t>(static_cast<int>(k.v) + 127) << 23) : k.v};
}
MHC_FN F select_less(F a, F b, F yes, F no) { return {a.v < b.v ? yes.v : no.v}; }

}  // namespace mhc::cuda

#include "lanes/elementary.h"
