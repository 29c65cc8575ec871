// SPDX-License-Identifier: Apache-2.0
// From mix (x . projection^T / r) to a token's coefficients, a token a lane, and back. N is the number of streams, or
// kAnyStreams.
#pragma once

#include "lanes/sinkhorn.h"

namespace MHC_LANES {
namespace activation {

constexpr int kMaxStreamsLite = 5;
MHC_HOST_DEVICE constexpr int factorial(int n) { return n <= 1 ? 1 : n * factorial(n - 1); }

// Permutation number k of n things in lexicographic order is digits[n][k].
struct Permutations {
  int8_t digits[kMaxStreamsLite + 1][factorial(kMaxStreamsLite)][kMaxStreamsLite] = {};

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
MHC_TABLE Permutations kPermutations;

// One group of the mix: pre, post or res, at a place in mix and bias.
enum Part { kPre, kPost, kRes };
MHC_HOST_DEVICE inline int count_of(const mhc_config& config, Part part) {
  int n = config.streams;
  if (part != kRes) return n;
  return config.mode == MHC_MODE_MHC_LITE ? factorial(n) : n * n;
}

// Scale and bias, and where mix is: what a logit is made of.
struct Affine {
  const mhc_config& config;
  const float *scale, *bias;
  const F* mix;

  MHC_FN F logit(Part part, int first, int i) const {
    F b = set(load1(bias + first + i));
    return config.is_static ? b : fma(set(load1(scale + part)), mix[first + i], b);
  }
};

template <int N>
MHC_FN void residual(int n, F* pre, F* post, F* res) {
  repeat<N>(n, [&](auto i) MHC_INLINE {
    pre[i] = set(1.0f / static_cast<float>(n));
    post[i] = set(1.0f);
    repeat<N>(n, [&](auto j) MHC_INLINE { res[i * n + j] = set(i == j ? 1.0f : 0.0f); });
  });
}

// scale * tanh(mix) + bias
MHC_FN F unconstrained(const Affine& a, Part part, int k) {
  F b = set(load1(a.bias + k));
  return a.config.is_static ? b : fma(set(load1(a.scale + part)), tanh(a.mix[k]), b);
}

// weight[n!]: logits become their softmax.
MHC_FN void softmax(int count, F* weight) {
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

MHC_FN void mix_permutations(int n, const F* weight, F* res) {
  for (int i = 0; i < n * n; ++i) res[i] = zero();
  for (int k = 0; k < factorial(n); ++k) {
    for (int i = 0; i < n; ++i) {
      F& entry = res[i * n + kPermutations.digits[n][k][i]];
      entry = entry + weight[k];
    }
  }
}

// The other way: d_weight[k] = sum of d_res over permutation k; logits' gradient from it, in place.
MHC_FN void mix_permutations_backward(int n, const F* weight, const F* d_res, F* d_logit) {
  F mean = zero();
  for (int k = 0; k < factorial(n); ++k) {
    F sum = zero();
    for (int i = 0; i < n; ++i) sum = sum + d_res[i * n + kPermutations.digits[n][k][i]];
    d_logit[k] = sum;
    mean = fma(weight[k], sum, mean);
  }
  for (int k = 0; k < factorial(n); ++k) d_logit[k] = weight[k] * (d_logit[k] - mean);
}

MHC_FN F tanh_slope(F x) { return set(4.0f) * sigmoid_slope(x + x); }

// From the gradients of a group's logits to those of mix and scale. kCount is count where it is known while compiling.
template <int kCount>
MHC_FN void mix_backward(const Affine& a, Part part, int first, int count, const F* d_logit, F* d_mix, F* d_scale) {
  F factor = set(load1(a.scale + part)), sum = zero();
  repeat<kCount>(count, [&](auto i) MHC_INLINE {
    sum = fma(d_logit[first + i], a.mix[first + i], sum);
    d_mix[first + i] = d_logit[first + i] * factor;
  });
  d_scale[part] = sum;
}

template <int kCount>
MHC_FN void unconstrained_backward(const Affine& a, Part part, int first, int count, const F* d, F* d_logit, F* d_mix,
                                   F* d_scale) {
  repeat<kCount>(count, [&](auto i) MHC_INLINE { d_logit[first + i] = d[i]; });
  if (a.config.is_static) return;
  F factor = set(load1(a.scale + part)), sum = zero();
  repeat<kCount>(count, [&](auto i) MHC_INLINE {
    F x = a.mix[first + i];
    sum = fma(d[i], tanh(x), sum);
    d_mix[first + i] = d[i] * factor * tanh_slope(x);
  });
  d_scale[part] = sum;
}

// MHC_MODE_MHC and MHC_MODE_MHC_LITE.
template <int N>
MHC_FN void constrained_pre(const Affine& a, int n, F* pre) {
  const F pre_eps = set(a.config.pre_eps);
  repeat<N>(n, [&](auto i) MHC_INLINE { pre[i] = sigmoid(a.logit(kPre, 0, i)) + pre_eps; });
}
template <int N>
MHC_FN void constrained_post(const Affine& a, int n, F* post) {
  const F multiplier = set(a.config.post_multiplier);
  repeat<N>(n, [&](auto i) MHC_INLINE { post[i] = multiplier * sigmoid(a.logit(kPost, n, i)); });
}

// MHC_MODE_MHC, dynamic or static.
template <int N>
MHC_LARGE_FN void manifold(const Affine& a, F* pre, F* post, F* res, F* scratch) {
  const int n = N == kAnyStreams ? a.config.streams : N;
  constrained_pre<N>(a, n, pre);
  constrained_post<N>(a, n, post);
  repeat<N * N>(n * n, [&](auto i) MHC_INLINE { res[i] = a.logit(kRes, 2 * n, i); });
  sinkhorn_lanes_of<N>(a.config, n, res, scratch);
}

// The others.
template <int N>
MHC_LARGE_FN void other_modes(const Affine& a, F* pre, F* post, F* res, F* scratch) {
  const int n = N == kAnyStreams ? a.config.streams : N;
  if (a.config.mode == MHC_MODE_RESIDUAL) return residual<N>(n, pre, post, res);
  if (a.config.mode == MHC_MODE_HC) {
    for (int i = 0; i < n; ++i) {
      pre[i] = unconstrained(a, kPre, i);
      post[i] = unconstrained(a, kPost, n + i);
    }
    for (int i = 0; i < n * n; ++i) res[i] = unconstrained(a, kRes, 2 * n + i);
    return;
  }
  constrained_pre<N>(a, n, pre);
  constrained_post<N>(a, n, post);
  for (int i = 0; i < factorial(n); ++i) scratch[i] = a.logit(kRes, 2 * n, i);
  softmax(factorial(n), scratch);
  mix_permutations(n, scratch, res);
}

}  // namespace activation

// Scratch that the two functions below want, in F.
MHC_HOST_DEVICE inline size_t activate_scratch(const mhc_config& config) {
  if (config.mode == MHC_MODE_MHC) return sinkhorn_lanes_scratch(config.streams);
  return config.mode == MHC_MODE_MHC_LITE ? activation::factorial(config.streams) : 0;
}
MHC_HOST_DEVICE inline size_t activate_backward_scratch(const mhc_config& config) {
  const int n = config.streams;
  if (config.mode == MHC_MODE_MHC) return n * n + sinkhorn_lanes_backward_scratch(config, n);
  return config.mode == MHC_MODE_MHC_LITE ? activation::factorial(n) : 0;
}

// mix[m], pre[n], post[n], res[n*n] (as stored). scale[3] and bias[m] as in mhc_parameters. With config.is_static mix is
// not read, in MHC_MODE_RESIDUAL neither are scale and bias.
template <int N>
MHC_LARGE_FN void activate_of(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre, F* post,
                        F* res, F* scratch) {
  const activation::Affine affine{config, scale, bias, mix};
  if (config.mode == MHC_MODE_MHC) return activation::manifold<N>(affine, pre, post, res, scratch);
  activation::other_modes<N>(affine, pre, post, res, scratch);
}

// pre alone.
template <int N>
MHC_FN void activate_pre_of(const mhc_config& config, const float* scale, const float* bias, const F* mix, F* pre) {
  const int n = N == kAnyStreams ? config.streams : N;
  const activation::Affine a{config, scale, bias, mix};
  if (config.mode == MHC_MODE_MHC || config.mode == MHC_MODE_MHC_LITE) return activation::constrained_pre<N>(a, n, pre);
  for (int i = 0; i < n; ++i) {
    pre[i] = config.mode == MHC_MODE_RESIDUAL ? set(1.0f / static_cast<float>(n)) : activation::unconstrained(a, activation::kPre, i);
  }
}

// d_pre[n], d_post[n], d_res[n*n] -> d_logit[m] (the gradient of bias, a token a lane), d_mix[m] and d_scale[3] (lane by
// lane; neither is written when config.is_static). Nothing is written in MHC_MODE_RESIDUAL. In two parts: pre's, which a
// boundary only knows when it has seen the whole row, and the others. N has to be kAnyStreams in MHC_MODE_MHC_LITE, whose m is
// another.
template <int N>
MHC_LARGE_FN void activate_backward_pre_of(const mhc_config& config, const float* scale, const float* bias, const F* mix,
                                     const F* d_pre, F* d_logit, F* d_mix, F* d_scale) {
  using namespace activation;
  const int n = N == kAnyStreams ? config.streams : N;
  if (config.mode == MHC_MODE_RESIDUAL) return;
  const Affine a{config, scale, bias, mix};
  if (config.mode == MHC_MODE_HC) return unconstrained_backward<N>(a, kPre, 0, n, d_pre, d_logit, d_mix, d_scale);
  repeat<N>(n, [&](auto i) MHC_INLINE { d_logit[i] = d_pre[i] * sigmoid_slope(a.logit(kPre, 0, i)); });
  if (!config.is_static) mix_backward<N>(a, kPre, 0, n, d_logit, d_mix, d_scale);
}

template <int N>
MHC_LARGE_FN void activate_backward_post_res_of(const mhc_config& config, const float* scale, const float* bias, const F* mix,
                                          const F* d_post, const F* d_res, F* d_logit, F* d_mix, F* d_scale, F* scratch) {
  using namespace activation;
  const int n = N == kAnyStreams ? config.streams : N;
  if (config.mode == MHC_MODE_RESIDUAL) return;
  const Affine a{config, scale, bias, mix};
  const int count = count_of(config, kRes);
  if (config.mode == MHC_MODE_HC) {
    unconstrained_backward<N>(a, kPost, n, n, d_post, d_logit, d_mix, d_scale);
    unconstrained_backward<N * N>(a, kRes, 2 * n, count, d_res, d_logit, d_mix, d_scale);
    return;
  }
  const F multiplier = set(config.post_multiplier);
  repeat<N>(n, [&](auto i) MHC_INLINE { d_logit[n + i] = d_post[i] * multiplier * sigmoid_slope(a.logit(kPost, n, i)); });
  F* const logits = scratch;
  F* const d_res_logit = d_logit + 2 * n;
  repeat<N * N>(count, [&](auto i) MHC_INLINE { logits[i] = a.logit(kRes, 2 * n, i); });
  if (N == kAnyStreams && config.mode == MHC_MODE_MHC_LITE) {
    softmax(count, logits);
    mix_permutations_backward(n, logits, d_res, d_res_logit);
  } else {
    repeat<N * N>(count, [&](auto i) MHC_INLINE { d_res_logit[i] = d_res[i]; });
    sinkhorn_lanes_backward_of<N>(config, n, logits, d_res_logit, scratch + n * n);
  }
  if (config.is_static) return;
  mix_backward<N>(a, kPost, n, n, d_logit, d_mix, d_scale);
  mix_backward<N * N>(a, kRes, 2 * n, count, d_logit, d_mix, d_scale);
}

}  // namespace MHC_LANES
