// SPDX-License-Identifier: Apache-2.0
#include "cpu/activate.h"

#include <array>

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

}  // namespace

size_t activate_scratch(const mhc_config& config) {
  if (config.mode == MHC_MODE_MHC) return sinkhorn_lanes_scratch(config, config.streams);
  return config.mode == MHC_MODE_MHC_LITE ? factorial(config.streams) : 0;
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

}  // namespace mhc::cpu::MHC_TIER
