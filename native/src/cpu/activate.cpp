// SPDX-License-Identifier: Apache-2.0
#include "cpu/activate.h"

#include <array>
#include <initializer_list>

#include "cpu/repeat.h"
#include "cpu/sinkhorn_lanes.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int kMaxStreamsLite = 5;
constexpr int factorial(int n) { return n <= 1 ? 1 : n * factorial(n - 1); }

// Permutation number k of n things in lexicographic order is digits[n][k].
struct Permutations {
  std::array<std::array<std::array<int8_t, kMaxStreamsLite>, factorial(kMaxStreamsLite)>, kMaxStreamsLite + 1> digits{};

  constexpr Permutations() {
    for (int n = 1; n <= kMaxStreamsLite; ++n) {
      for (int k = 0; k < factorial(n); ++k) {
        bool taken[kMaxStreamsLite] = {};
        for (int i = 0, rest = k; i < n; ++i) {
          int below = rest / factorial(n - 1 - i);  // how many of the free ones are smaller
          rest %= factorial(n - 1 - i);
          int digit = 0;
          for (int free = 0;; ++digit) {
            if (taken[digit]) continue;
            if (free++ == below) break;
          }
          taken[digit] = true;
          digits[n][k][i] = static_cast<int8_t>(digit);
        }
      }
    }
  }
};
constexpr Permutations kPermutations;

// One group of the mix: pre, post or res, at a place in mix and bias.
struct Group {
  int part, first, count;
};
struct Groups {
  Group pre, post, res;
  explicit Groups(const mhc_config& config) {
    int n = config.streams;
    pre = {0, 0, n};
    post = {1, n, n};
    res = {2, 2 * n, config.mode == MHC_MODE_MHC_LITE ? factorial(n) : n * n};
  }
};

F logit(const mhc_config& config, const float* scale, const float* bias, const F* mix, Group group, int i) {
  F b = set(load1(bias + group.first + i));
  return config.is_static ? b : fma(set(load1(scale + group.part)), mix[group.first + i], b);
}

void residual(int n, F* pre, F* post, F* res) {
  for (int i = 0; i < n; ++i) {
    pre[i] = set(1.0f / static_cast<float>(n));
    post[i] = set(1.0f);
    for (int j = 0; j < n; ++j) res[i * n + j] = set(i == j ? 1.0f : 0.0f);
  }
}

// scale * tanh(mix) + bias
void unconstrained(const mhc_config& config, const float* scale, const float* bias, const F* mix, Group group, F* out) {
  for (int i = 0; i < group.count; ++i) {
    F b = set(load1(bias + group.first + i));
    out[i] = config.is_static ? b : fma(set(load1(scale + group.part)), tanh(mix[group.first + i]), b);
  }
}

// weight[n!]: logits become their softmax.
void softmax(int count, F* weight) {
  F most = weight[0];
  for (int k = 1; k < count; ++k) most = max(most, weight[k]);
  F sum = zero();
  for (int k = 0; k < count; ++k) {
    weight[k] = exp(weight[k] - most);
    sum = sum + weight[k];
  }
  F scale = set(1.0f) / sum;
  for (int k = 0; k < count; ++k) weight[k] = weight[k] * scale;
}

void mix_permutations(int n, const F* weight, F* res) {
  for (int i = 0; i < n * n; ++i) res[i] = zero();
  for (int k = 0; k < factorial(n); ++k) {
    for (int i = 0; i < n; ++i) {
      F& entry = res[i * n + kPermutations.digits[n][k][i]];
      entry = entry + weight[k];
    }
  }
}

// The other way: d_weight[k] = sum of d_res over permutation k; logits' gradient from it, in place.
void mix_permutations_backward(int n, const F* weight, const F* d_res, F* d_logit) {
  F mean = zero();
  for (int k = 0; k < factorial(n); ++k) {
    F sum = zero();
    for (int i = 0; i < n; ++i) sum = sum + d_res[i * n + kPermutations.digits[n][k][i]];
    d_logit[k] = sum;
    mean = fma(weight[k], sum, mean);
  }
  for (int k = 0; k < factorial(n); ++k) d_logit[k] = weight[k] * (d_logit[k] - mean);
}

F tanh_slope(F x) { return set(4.0f) * sigmoid_slope(x + x); }

// From the gradients of a group's logits, all in place, to those of mix and scale.
void mix_backward(const float* scale, const F* mix, Group group, const F* d_logit, F* d_mix, F* d_scale) {
  F factor = set(load1(scale + group.part)), sum = zero();
  for (int j = group.first; j < group.first + group.count; ++j) {
    sum = fma(d_logit[j], mix[j], sum);
    d_mix[j] = d_logit[j] * factor;
  }
  d_scale[group.part] = sum;
}

void unconstrained_backward(const mhc_config& config, const float* scale, const F* mix, Group group, const F* d,
                            F* d_logit, F* d_mix, F* d_scale) {
  for (int i = 0; i < group.count; ++i) d_logit[group.first + i] = d[i];
  if (config.is_static) return;
  F factor = set(load1(scale + group.part)), sum = zero();
  for (int i = 0; i < group.count; ++i) {
    F x = mix[group.first + i];
    sum = fma(d[i], tanh(x), sum);
    d_mix[group.first + i] = d[i] * factor * tanh_slope(x);
  }
  d_scale[group.part] = sum;
}

}  // namespace

size_t activate_scratch(const mhc_config& config) {
  if (config.mode == MHC_MODE_MHC) return sinkhorn_lanes_scratch(config, config.streams);
  return config.mode == MHC_MODE_MHC_LITE ? factorial(config.streams) : 0;
}

size_t activate_backward_scratch(const mhc_config& config) {
  const int n = config.streams;
  if (config.mode == MHC_MODE_MHC) return n * n + sinkhorn_lanes_backward_scratch(config, n);
  return config.mode == MHC_MODE_MHC_LITE ? factorial(n) : 0;
}

void activate(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre, F* post, F* res,
              F* scratch) {
  const int n = config.streams;
  if (config.mode == MHC_MODE_RESIDUAL) return residual(n, pre, post, res);
  const Groups groups(config);
  if (config.mode == MHC_MODE_HC) {
    unconstrained(config, scale, bias, mix, groups.pre, pre);
    unconstrained(config, scale, bias, mix, groups.post, post);
    unconstrained(config, scale, bias, mix, groups.res, res);
    return;
  }
  const F pre_eps = set(config.pre_eps), multiplier = set(config.post_multiplier);
  for (int i = 0; i < n; ++i) {
    pre[i] = sigmoid(logit(config, scale, bias, mix, groups.pre, i)) + pre_eps;
    post[i] = multiplier * sigmoid(logit(config, scale, bias, mix, groups.post, i));
  }
  const bool lite = config.mode == MHC_MODE_MHC_LITE;
  F* const logits = lite ? scratch : res;
  for (int i = 0; i < groups.res.count; ++i) logits[i] = logit(config, scale, bias, mix, groups.res, i);
  if (lite) {
    softmax(groups.res.count, logits);
    mix_permutations(n, logits, res);
  } else {
    sinkhorn_lanes(config, n, res, scratch);
  }
}

void activate_backward(const mhc_config& config, const float* scale, const float* bias, const F* mix, const F* d_pre,
                       const F* d_post, const F* d_res, F* d_logit, F* d_mix, F* d_scale, F* scratch) {
  const int n = config.streams;
  if (config.mode == MHC_MODE_RESIDUAL) return;
  const Groups groups(config);
  if (config.mode == MHC_MODE_HC) {
    unconstrained_backward(config, scale, mix, groups.pre, d_pre, d_logit, d_mix, d_scale);
    unconstrained_backward(config, scale, mix, groups.post, d_post, d_logit, d_mix, d_scale);
    unconstrained_backward(config, scale, mix, groups.res, d_res, d_logit, d_mix, d_scale);
    return;
  }
  const F multiplier = set(config.post_multiplier);
  for (int i = 0; i < n; ++i) {
    d_logit[i] = d_pre[i] * sigmoid_slope(logit(config, scale, bias, mix, groups.pre, i));
    d_logit[n + i] = d_post[i] * multiplier * sigmoid_slope(logit(config, scale, bias, mix, groups.post, i));
  }
  F* const logits = scratch;
  F* const d_res_logit = d_logit + groups.res.first;
  for (int i = 0; i < groups.res.count; ++i) logits[i] = logit(config, scale, bias, mix, groups.res, i);
  if (config.mode == MHC_MODE_MHC_LITE) {
    softmax(groups.res.count, logits);
    mix_permutations_backward(n, logits, d_res, d_res_logit);
  } else {
    for (int i = 0; i < n * n; ++i) d_res_logit[i] = d_res[i];
    sinkhorn_lanes_backward(config, n, logits, d_res_logit, scratch + n * n);
  }
  if (config.is_static) return;
  for (const Group& group : {groups.pre, groups.post, groups.res}) {
    mix_backward(scale, mix, group, d_logit, d_mix, d_scale);
  }
}

}  // namespace mhc::cpu::MHC_TIER
