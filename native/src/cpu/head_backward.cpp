// SPDX-License-Identifier: Apache-2.0
// With w the weights, s = sigmoid, r the RMS, g[j] = d_mix[j] / r, where d_mix[j] = scale * s'(logit[j]) * <x[j], d_y>:
//   d_x          = w d_y + g . projection + k x,  k from the derivative of 1/r
//   d_projection = sum over tokens of g x
// g is kept for all tokens, so that d_projection is made of whole columns of x, tokens in order.
#include <cmath>

#include "cpu/head.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int kGroup = 4;            // tokens that meet a piece of the projection
constexpr int64_t kRun = 256;        // columns of d_projection that a thread makes at a time
constexpr int64_t kBatch = 64;       // tokens summed before they are added to the rest
constexpr int kRows = 4, kVectors = std::clamp(kTokens * kOutputs / kRows, 1, 4);  // sums in registers meanwhile

template <int N>
constexpr int kStreamsOf = N == kAnyStreams ? kMaxStreams : N;

struct Kept {
  float *g, *d_logit;  // [T][n] each

  Kept(const HeadBackwardProblem& p, char* shared)
      : g(reinterpret_cast<float*>(shared)), d_logit(g + p.sizes.tokens * p.sizes.streams) {}
};

// What one token's d_x is made of.
struct TokenFactors {
  float weight[kMaxStreams], g[kMaxStreams], k;
};

template <class X, class H, int N>
TokenFactors factors_of(const HeadBackwardProblem& p, const HeadAffine& affine, int64_t token, const Kept& kept) {
  const int n = N == kAnyStreams ? p.sizes.streams : N;
  const int64_t width = p.sizes.width;
  const X* x[kStreamsOf<N>];
  F dot[kStreamsOf<N>], squares = zero();
  for (int i = 0; i < n; ++i) {
    x[i] = p.x.at<X>(token, i);
    dot[i] = zero();
  }
  const H* d_y = p.d_y.at<H>(token);
  for (int64_t c = 0; c < width; c += W) {
    F y = load_upto(d_y + c, width - c);
    for (int i = 0; i < n; ++i) {
      F value = load_upto(x[i] + c, width - c);
      dot[i] = fma(value, y, dot[i]);
      squares = fma(value, value, squares);
    }
  }
  float mix[kMaxStreams], d_weight[kMaxStreams], d_logit[kMaxStreams];
  for (int i = 0; i < n; ++i) {
    mix[i] = load1(p.mix.at<float>(token, i));
    d_weight[i] = sum(dot[i]);
  }
  TokenFactors out;
  for (int i = 0; i < n; i += W) {
    F logit = affine.logit(mix, i, n);
    store_upto(out.weight + i, sigmoid(logit) + set(p.config.pre_eps), n - i);
    store_upto(d_logit + i, sigmoid_slope(logit) * load_upto(d_weight + i, n - i), n - i);
  }
  const float inv_rms = load1(p.inv_rms.at<float>(token)), count = static_cast<float>(n * width);
  float product = 0;
  for (int i = 0; i < n; ++i) {
    const float d_mix = affine.scale * d_logit[i];
    product += d_mix * mix[i];
    out.g[i] = d_mix * inv_rms;
    kept.g[token * n + i] = out.g[i];
    kept.d_logit[token * n + i] = d_logit[i];
  }
  // d(1/r)/dx is -x / r^2 / (nC * root of the mean square); inside, 1/r is that root's inverse.
  const float root = std::sqrt(sum(squares) / count);
  const float slope = p.config.rms_eps_mode == MHC_RMS_EPS_INSIDE ? inv_rms * inv_rms : inv_rms / root;
  out.k = root == 0 ? 0 : -product * slope / count;
  return out;
}

// count tokens from first on, at most kGroup.
template <class X, class H, int N>
void backward_group(const HeadBackwardProblem& p, const HeadAffine& affine, int64_t first, int count,
                    const Kept& kept) {
  const int n = N == kAnyStreams ? p.sizes.streams : N;
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs;
  TokenFactors factors[kGroup];
  const H* d_y[kGroup];
  for (int t = 0; t < count; ++t) {
    factors[t] = factors_of<X, H, N>(p, affine, first + t, kept);
    d_y[t] = p.d_y.at<H>(first + t);
  }
  const float* projection[kStreamsOf<N>];
  for (int i = 0; i < n; ++i) {
    const X* x[kGroup];
    X* d_x[kGroup];
    for (int t = 0; t < count; ++t) {
      x[t] = p.x.at<X>(first + t, i);
      d_x[t] = p.d_x.at<X>(first + t, i);
    }
    for (int j = 0; j < n; ++j) projection[j] = p.projection.at<float>(j) + i * width;
    for (int64_t c = 0; c < width; c += W) {
      int64_t left = width - c;
      F row[kStreamsOf<N>];
      for (int j = 0; j < n; ++j) row[j] = load_upto(projection[j] + c, left);
      for (int t = 0; t < count; ++t) {
        F value = set(factors[t].weight[i]) * load_upto(d_y[t] + c, left);
        value = fma(set(factors[t].k), load_upto(x[t] + c, left), value);
        for (int j = 0; j < n; ++j) value = fma(set(factors[t].g[j]), row[j], value);
        if (accumulate) value = load_upto(d_x[t] + c, left) + value;
        store_upto(d_x[t] + c, value, left);
      }
    }
  }
}

// total[j] += sum over count tokens of g[t][j] x[t], for J rows of d_projection and V vectors of columns; the last of
// them has left columns.
template <class X, int J, int V>
void add_columns(const float* g, int n, const X* x, int64_t step, int64_t count, int64_t left, float* total) {
  F part[J][V];
  for (int j = 0; j < J; ++j) {
    for (int v = 0; v < V; ++v) part[j][v] = zero();
  }
  for (int64_t t = 0; t < count; ++t) {
    F value[V];
    for (int v = 0; v + 1 < V; ++v) value[v] = load(x + t * step + v * W);
    value[V - 1] = load_upto(x + t * step + (V - 1) * W, left);
    for (int j = 0; j < J; ++j) {
      F factor = set(g[t * n + j]);
      for (int v = 0; v < V; ++v) part[j][v] = fma(factor, value[v], part[j][v]);
    }
  }
  for (int j = 0; j < J; ++j) {
    for (int v = 0; v < V; ++v) {
      float* at = total + j * kRun + v * W;
      store(at, load(at) + part[j][v]);
    }
  }
}

// The same for all n rows.
template <class X, int V>
void add_columns(const float* g, int n, const X* x, int64_t step, int64_t count, int64_t left, float* total) {
  int j = 0;
  for (; j + kRows <= n; j += kRows) add_columns<X, kRows, V>(g + j, n, x, step, count, left, total + j * kRun);
  for (; j < n; ++j) add_columns<X, 1, V>(g + j, n, x, step, count, left, total + j * kRun);
}

// Columns begin ... of stream i of d_projection.
template <class X>
void projection_columns(const HeadBackwardProblem& p, const Kept& kept, int i, int64_t begin) {
  const int n = p.sizes.streams;
  const int64_t columns = std::min(kRun, p.sizes.width - begin), step = p.x.stride[0];
  float total[kMaxStreams * kRun];
  std::fill(total, total + n * kRun, 0.0f);
  for (int64_t first = 0; first < p.sizes.tokens; first += kBatch) {
    const int64_t count = std::min(kBatch, p.sizes.tokens - first);
    const X* x = p.x.at<X>(first, i) + begin;
    const float* g = kept.g + first * n;
    int64_t c = 0;
    for (; c + kVectors * W <= columns; c += kVectors * W) {
      add_columns<X, kVectors>(g, n, x + c, step, count, W, total + c);
    }
    for (; c < columns; c += W) add_columns<X, 1>(g, n, x + c, step, count, columns - c, total + c);
  }
  for (int j = 0; j < n; ++j) {
    float* out = p.d_projection.at<float>(j) + i * p.sizes.width + begin;
    for (int64_t c = 0; c < columns; c += W) {
      F value = load(total + j * kRun + c);
      if (p.accumulate_parameters) value = load_upto(out + c, columns - c) + value;
      store_upto(out + c, value, columns - c);
    }
  }
}

void scale_and_bias(const HeadBackwardProblem& p, const Kept& kept) {
  const int n = p.sizes.streams;
  double scale = 0, bias[kMaxStreams] = {};
  for (int64_t t = 0; t < p.sizes.tokens; ++t) {
    for (int i = 0; i < n; ++i) {
      double d_logit = kept.d_logit[t * n + i];
      bias[i] += d_logit;
      if (p.d_scale) scale += d_logit * load1(p.mix.at<float>(t, i));
    }
  }
  auto put = [&](float* out, double value) {
    store1(out, static_cast<float>(p.accumulate_parameters ? load1(out) + value : value));
  };
  if (p.d_scale) put(p.d_scale.at<float>(), scale);
  if (!p.d_bias) return;
  for (int i = 0; i < n; ++i) put(p.d_bias.at<float>(i), bias[i]);
}

template <class X, class H, int N>
void weighted(const HeadBackwardProblem& p, const Job& job) {
  const HeadAffine affine(p.scale, p.bias, p.sizes.streams);
  const Kept kept(p, job.shared);
  for_token_blocks(job.pool, p.sizes.tokens, kGroup, [&](int, int64_t first, int64_t last) {
    backward_group<X, H, N>(p, affine, first, static_cast<int>(last - first), kept);
  });
  if (p.d_projection) {
    const int64_t runs = (p.sizes.width + kRun - 1) / kRun;
    job.pool.parallel(p.sizes.streams * runs, [&](int, int64_t index) {
      projection_columns<X>(p, kept, static_cast<int>(index / runs), index % runs * kRun);
    });
  }
  if (p.d_scale || p.d_bias) scale_and_bias(p, kept);
}

template <class X, class H>
void constant(const HeadBackwardProblem& p, const Job& job) {
  const F weight = set(constant_head_weight(p.kind, p.sizes.streams));
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs;
  for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int i = 0; i < p.sizes.streams; ++i) {
        const H* d_y = p.d_y.at<H>(t);
        X* d_x = p.d_x.at<X>(t, i);
        for (int64_t c = 0; c < width; c += W) {
          F value = weight * load_upto(d_y + c, width - c);
          if (accumulate) value = load_upto(d_x + c, width - c) + value;
          store_upto(d_x + c, value, width - c);
        }
      }
    }
  });
}

}  // namespace

Space head_backward_space(const HeadBackwardProblem& p, int) {
  if (p.kind != MHC_HEAD_WEIGHTED) return {};
  return {0, static_cast<size_t>(p.sizes.tokens * p.sizes.streams) * 2 * sizeof(float)};
}

void head_backward(const HeadBackwardProblem& p, const Job& job) {
  with_row_types(p.d_x.type, p.d_y.type, [&](auto x, auto y) {
    using X = typename decltype(x)::type;
    using H = typename decltype(y)::type;
    if (p.kind != MHC_HEAD_WEIGHTED) return constant<X, H>(p, job);
    with_streams(p.sizes.streams, [&](auto streams) { weighted<X, H, streams>(p, job); });
  });
}

}  // namespace mhc::cpu::MHC_TIER
