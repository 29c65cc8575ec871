// SPDX-License-Identifier: Apache-2.0
// What head and head_backward agree on.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// Scale and bias of MHC_HEAD_WEIGHTED.
struct HeadAffine {
  Array<const float> scale, bias;

  // What the sigmoid of stream i is taken of.
  MHC_FN F logit(float mix, int i) const { return fma(set(load1(scale.at())), set(mix), set(load1(bias.at(i)))); }
};

// The weight of every stream where it does not depend on x.
inline float constant_head_weight(int32_t kind, int n) { return kind == MHC_HEAD_MEAN ? 1.0f / static_cast<float>(n) : 1.0f; }

}  // namespace mhc::cuda
