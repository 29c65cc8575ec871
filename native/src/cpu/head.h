// SPDX-License-Identifier: Apache-2.0
// What head and head_backward agree on.
#pragma once

#include "cpu/dispatch.h"
#include "cpu/vec.h"
#include "mhc/mhc.h"

namespace mhc::cpu::MHC_TIER {

// Scale and bias of MHC_HEAD_WEIGHTED, gathered once a call.
struct HeadAffine {
  float scale = 0, bias[kMaxStreams] = {};

  HeadAffine(const View& given_scale, const View& given_bias, int n) {
    if (!given_scale) return;
    scale = load1(given_scale.at<float>());
    for (int i = 0; i < n; ++i) bias[i] = load1(given_bias.at<float>(i));
  }

  // What the sigmoid of streams i ... i + W - 1 is taken of.
  F logit(const float* mix, int i, int n) const {
    return fma(set(scale), load_upto(mix + i, n - i), load_upto(bias + i, n - i));
  }
};

// The weight of every stream where it does not depend on x.
inline float constant_head_weight(int32_t kind, int n) {
  return kind == MHC_HEAD_MEAN ? 1.0f / static_cast<float>(n) : 1.0f;
}

}  // namespace mhc::cpu::MHC_TIER
