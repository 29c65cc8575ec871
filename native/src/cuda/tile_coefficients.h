// SPDX-License-Identifier: Apache-2.0
// From the sums of a tile's units to its tokens' coefficients: the work of four warps.
#pragma once

#include "cuda/tile.h"
#include "lanes/activate.h"
#include "lanes/rms.h"

namespace mhc::cuda::tile {

constexpr int kCoefficientThreads = 128;

// Where coefficients go; mix and inv_rms may be missing.
struct CoefficientArrays {
  Array<float> pre_mix, post_mix, res_mix, mix, inv_rms;

  CoefficientArrays() = default;
  explicit CoefficientArrays(const CoefficientViews& v)
      : pre_mix(v.pre_mix), post_mix(v.post_mix), res_mix(v.res_mix), mix(v.mix), inv_rms(v.inv_rms) {}
};

// The residual, and how its coefficients are made.
struct CoefficientRule {
  int64_t tokens, width;
  int units;
  const mhc_config& config;
  const float *scale, *bias;
};

// sums is [unit][token][value]. mix has kMixSize floats of shared memory; barrier is one of the four warps, with which this ends.
MHC_FN void make_coefficients(const CoefficientRule& rule, const float* sums, int64_t first_token, const CoefficientArrays& out,
                              float* mix, int thread, int barrier) {
  for (int v = thread; v < kSumsSize; v += kCoefficientThreads) {
    float sum = load_fresh(sums + v);
#pragma unroll 8
    for (int u = 1; u < rule.units; ++u) sum += load_fresh(sums + int64_t{u} * kSumsSize + v);
    mix[v / kValues * kPartPitch + v % kValues] = sum;
  }
  sync_threads(barrier, kCoefficientThreads);
  const int64_t token = first_token + thread;
  if (thread < kTile && token < rule.tokens) {
    float* values = mix + thread * kPartPitch;
    const float inv_rms = inv_rms_of(values[kOutputs], kStreams * rule.width, rule.config.rms_eps_mode, rule.config.rms_eps);
    F pre[kStreams], post[kStreams], res[kStreams * kStreams];
#pragma unroll 1
    for (int o = 0; o < kOutputs; ++o) {
      values[o] = values[o] * inv_rms;
      if (out.mix) store1(out.mix.at(token, o), values[o]);
    }
    if (out.inv_rms) store1(out.inv_rms.at(token), inv_rms);
    activation::manifold<kStreams>({rule.config, rule.scale, rule.bias, reinterpret_cast<const F*>(values)}, pre, post, res, nullptr);
#pragma unroll
    for (int i = 0; i < kStreams; ++i) {
      store1(out.pre_mix.at(token, i), pre[i].v);
      store1(out.post_mix.at(token, i), post[i].v);
#pragma unroll
      for (int j = 0; j < kStreams; ++j) store1(out.res_mix.at(token, i, j), res[i * kStreams + j].v);
    }
  }
  sync_threads(barrier, kCoefficientThreads);
}

}  // namespace mhc::cuda::tile
