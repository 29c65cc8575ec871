// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "oracle.h"

namespace oracle {
namespace {

double sigmoid(double z) { return kept(1 / (1 + std::exp(-z))); }

void add(double& to, double term) { to = kept(to + term); }

double inverse_rms(const mhc_config& config, double mean_square) {
  if (config.rms_eps_mode == MHC_RMS_EPS_OUTSIDE) return kept(1 / (std::sqrt(mean_square) + config.rms_eps));
  return kept(1 / std::sqrt(mean_square + config.rms_eps));
}

// d inverse_rms / d x[k] = slope * x[k]
double inverse_rms_slope(const mhc_config& config, double mean_square, double inv_rms, int64_t row) {
  if (config.rms_eps_mode == MHC_RMS_EPS_INSIDE) return -inv_rms * inv_rms * inv_rms / row;
  return mean_square == 0 ? 0 : -inv_rms * inv_rms / (std::sqrt(mean_square) * row);
}

double mean_square(const double* x, int64_t row) { return dot(x, x, row) / row; }

double weight_at(const Array& weight, int64_t i) { return weight.empty() ? 1 : weight[i]; }

std::vector<std::vector<int>> permutations(int n) {
  std::vector<int> p(n);
  std::iota(p.begin(), p.end(), 0);
  std::vector<std::vector<int>> all;
  do all.push_back(p);
  while (std::next_permutation(p.begin(), p.end()));
  return all;
}

Array softmax(const double* z, size_t count) {
  const double max = *std::max_element(z, z + count);
  Array out(count);
  for (size_t i = 0; i < count; ++i) out[i] = kept(std::exp(kept(z[i] - max)));
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& v : out) v = kept(v / sum);
  return out;
}

// One token's m logits z = scale * mix + bias, in the two modes that have logits.
Array logits_of(const mhc_config& config, const Parameters& p, const double* mix) {
  const int64_t m = mix_count(config), n = config.streams;
  Array z(m);
  for (int64_t j = 0; j < m; ++j) {
    const double scaled = config.is_static ? 0 : p.scale[j < n ? 0 : j < 2 * n ? 1 : 2] * mix[j];
    z[j] = kept(scaled + p.bias[j]);
  }
  return z;
}

void res_from_logits(const mhc_config& config, const Array& z, double* res) {
  const int n = config.streams;
  const Array logits(z.begin() + 2 * n, z.end());
  if (config.mode == MHC_MODE_MHC) {
    const Array out = sinkhorn(config, logits, n);
    std::copy(out.begin(), out.end(), res);
    return;
  }
  const Array weight = softmax(logits.data(), logits.size());
  const auto orders = permutations(n);
  std::fill(res, res + n * n, 0.0);
  for (size_t k = 0; k < orders.size(); ++k)
    for (int i = 0; i < n; ++i) add(res[i * n + orders[k][i]], weight[k]);
}

// Gradient of the logits z[2n ...].
Array res_backward(const mhc_config& config, const Array& z, const double* d_res) {
  const int n = config.streams;
  const Array logits(z.begin() + 2 * n, z.end());
  if (config.mode == MHC_MODE_MHC) return sinkhorn_backward(config, logits, Array(d_res, d_res + n * n), n);
  const Array weight = softmax(logits.data(), logits.size());
  const auto orders = permutations(n);
  Array d(weight.size());
  for (size_t k = 0; k < orders.size(); ++k)
    for (int i = 0; i < n; ++i) add(d[k], d_res[i * n + orders[k][i]]);
  const double inner = dot(d.data(), weight.data(), d.size());
  for (size_t k = 0; k < d.size(); ++k) d[k] = weight[k] * kept(d[k] - inner);
  return d;
}

void residual_coefficients(int n, double* pre, double* post, double* res) {
  for (int i = 0; i < n; ++i) {
    pre[i] = 1.0 / n;
    post[i] = 1;
    for (int j = 0; j < n; ++j) res[i * n + j] = i == j;
  }
}

// scale[part] * tanh(mix) + bias
double unconstrained(const mhc_config& config, const Parameters& p, const double* mix, int64_t j) {
  const int n = config.streams;
  return (config.is_static ? 0 : p.scale[j < n ? 0 : j < 2 * n ? 1 : 2] * kept(std::tanh(mix[j]))) + p.bias[j];
}

// Cotangents of one token's coefficients, side by side as the mixes are.
Array joined(int n, int64_t token, const Array& d_pre, const Array& d_post, const Array& d_res) {
  Array d(2 * n + n * n);
  for (int i = 0; i < n && !d_pre.empty(); ++i) d[i] = d_pre[token * n + i];
  for (int i = 0; i < n && !d_post.empty(); ++i) d[n + i] = d_post[token * n + i];
  for (int i = 0; i < n * n && !d_res.empty(); ++i) d[2 * n + i] = d_res[token * n * n + i];
  return d;
}

// From the cotangent d of the coefficients to that of the mixes, adding to the gradients of scale and bias.
Array activate_backward(const mhc_config& config, const Parameters& p, const double* mix, const Array& d, Parameters& out) {
  const int64_t m = mix_count(config), n = config.streams;
  Array d_z(m), inner(m, 1.0);  // inner: what scale multiplies, and d_mix = d_z * scale * slope
  Array slope(m, 1.0);
  if (config.mode == MHC_MODE_HC) {
    d_z = d;
    for (int64_t j = 0; j < m && !config.is_static; ++j) slope[j] = kept(1 - std::tanh(mix[j]) * std::tanh(mix[j]));
  } else {
    const Array z = logits_of(config, p, mix);
    const Array d_res = res_backward(config, z, &d[2 * n]);
    for (int64_t j = 0; j < 2 * n; ++j) {
      const double s = sigmoid(z[j]), size = j < n ? 1 : config.post_multiplier;
      d_z[j] = kept(d[j] * size * s * (1 - s));
    }
    std::copy(d_res.begin(), d_res.end(), d_z.begin() + 2 * n);
  }
  for (int64_t j = 0; j < m; ++j) add(out.bias[j], d_z[j]);
  if (config.is_static) return Array(m);
  Array d_mix(m);
  for (int64_t j = 0; j < m; ++j) {
    const int part = j < n ? 0 : j < 2 * n ? 1 : 2;
    add(out.scale[part], d_z[j] * (config.mode == MHC_MODE_HC ? kept(std::tanh(mix[j])) : mix[j]));
    d_mix[j] = kept(d_z[j] * p.scale[part] * slope[j]);
  }
  return d_mix;
}

// One token: from the cotangent of its mixes to x, projection and norm_weight.
void project_backward(const mhc_config& config, const Parameters& p, const double* x, int64_t row, const Array& d_mix,
                      const double* mix, double inv_rms, double* d_x, Parameters& out) {
  double d_inv = 0;
  for (size_t j = 0; j < d_mix.size(); ++j) add(d_inv, d_mix[j] * mix[j] / inv_rms);
  const double slope = kept(inverse_rms_slope(config, mean_square(x, row), inv_rms, row));
  for (int64_t k = 0; k < row; ++k) add(d_x[k], d_inv * slope * x[k]);
  for (size_t j = 0; j < d_mix.size(); ++j) {
    const double scaled = kept(d_mix[j] * inv_rms);
    for (int64_t k = 0; k < row; ++k) {
      const double phi = p.projection[j * row + k], w = weight_at(p.norm_weight, k);
      add(d_x[k], scaled * phi * w);
      add(out.projection[j * row + k], scaled * w * x[k]);
      if (!p.norm_weight.empty()) add(out.norm_weight[k], scaled * phi * x[k]);
    }
  }
}

Parameters zeros_like(const Parameters& p) {
  return {Array(p.projection.size()), Array(p.scale.size()), Array(p.bias.size()), Array(p.norm_weight.size())};
}

}  // namespace

int64_t mix_count(const mhc_config& config) {
  const int64_t n = config.streams;
  if (config.mode == MHC_MODE_RESIDUAL) return 0;
  int64_t factorial = 1;
  for (int64_t i = 2; i <= n; ++i) factorial *= i;
  return 2 * n + (config.mode == MHC_MODE_MHC_LITE ? factorial : n * n);
}

Coefficients project(const mhc_config& config, const Parameters& p, const Array& x, Shape shape) {
  const int64_t m = mix_count(config), row = shape.row();
  Coefficients c;
  if (config.is_static || m == 0) return c;
  c.mix.resize(shape.tokens * m);
  c.inv_rms.resize(shape.tokens);
  for (int64_t t = 0; t < shape.tokens; ++t) {
    c.inv_rms[t] = inverse_rms(config, mean_square(&x[t * row], row));
    for (int64_t j = 0; j < m; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < row; ++k) add(sum, x[t * row + k] * weight_at(p.norm_weight, k) * p.projection[j * row + k]);
      c.mix[t * m + j] = kept(sum * c.inv_rms[t]);
    }
  }
  return c;
}

void activate(const mhc_config& config, const Parameters& p, int64_t tokens, Coefficients& c) {
  const int64_t n = config.streams, m = mix_count(config);
  c.pre_mix.resize(tokens * n);
  c.post_mix.resize(tokens * n);
  c.res_mix.resize(tokens * n * n);
  for (int64_t t = 0; t < tokens; ++t) {
    double *pre = &c.pre_mix[t * n], *post = &c.post_mix[t * n], *res = &c.res_mix[t * n * n];
    const double* mix = c.mix.empty() ? nullptr : &c.mix[t * m];
    if (config.mode == MHC_MODE_RESIDUAL) {
      residual_coefficients(n, pre, post, res);
    } else if (config.mode == MHC_MODE_HC) {
      for (int64_t j = 0; j < m; ++j)
        (j < n ? pre[j] : j < 2 * n ? post[j - n] : res[j - 2 * n]) = unconstrained(config, p, mix, j);
    } else {
      const Array z = logits_of(config, p, mix);
      for (int64_t i = 0; i < n; ++i) {
        pre[i] = sigmoid(z[i]) + config.pre_eps;
        post[i] = config.post_multiplier * sigmoid(z[n + i]);
      }
      res_from_logits(config, z, res);
    }
  }
}

Coefficients coefficients(const mhc_config& config, const Parameters& p, const Array& x, Shape shape) {
  Coefficients c = project(config, p, x, shape);
  activate(config, p, shape.tokens, c);
  return c;
}

CoefficientGradients coefficients_backward(const mhc_config& config, const Parameters& p, const Array& x, Shape shape,
                                           const Array& d_pre, const Array& d_post, const Array& d_res) {
  CoefficientGradients out{Array(x.size()), zeros_like(p)};
  if (config.mode == MHC_MODE_RESIDUAL) return out;
  const int64_t m = mix_count(config), row = shape.row();
  const Coefficients c = project(config, p, x, shape);
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const double* mix = config.is_static ? nullptr : &c.mix[t * m];
    const Array d = joined(config.streams, t, d_pre, d_post, d_res);
    const Array d_mix = activate_backward(config, p, mix, d, out.d_parameters);
    if (!config.is_static)
      project_backward(config, p, &x[t * row], row, d_mix, mix, c.inv_rms[t], &out.d_x[t * row], out.d_parameters);
  }
  return out;
}

// The head's weights are the pre half of the coefficients, with one scale and n mixes.
Head head(const mhc_config& config, int32_t kind, const Parameters& p, const Array& x, Shape shape) {
  const int64_t n = shape.streams, row = shape.row();
  Head out;
  Array weight(shape.tokens * n, kind == MHC_HEAD_MEAN ? 1.0 / n : 1.0);
  if (kind == MHC_HEAD_WEIGHTED) {
    out.mix.resize(shape.tokens * n);
    for (int64_t t = 0; t < shape.tokens; ++t) {
      out.inv_rms.push_back(inverse_rms(config, mean_square(&x[t * row], row)));
      for (int64_t i = 0; i < n; ++i) {
        out.mix[t * n + i] = kept(out.inv_rms[t] * dot(&x[t * row], &p.projection[i * row], row));
        weight[t * n + i] = sigmoid(kept(p.scale[0] * out.mix[t * n + i] + p.bias[i])) + config.pre_eps;
      }
    }
  }
  out.y = pre(x, weight, shape);
  return out;
}

CoefficientGradients head_backward(const mhc_config& config, int32_t kind, const Parameters& p, const Array& x,
                                   const Array& d_y, Shape shape) {
  const int64_t n = shape.streams, row = shape.row();
  CoefficientGradients out{Array(shape.tokens * row), zeros_like(p)};
  if (kind != MHC_HEAD_WEIGHTED) {
    const Array weight(shape.tokens * n, kind == MHC_HEAD_MEAN ? 1.0 / n : 1.0);
    out.d_x = pre_backward(Array(shape.tokens * row), weight, d_y, shape).d_x;
    return out;
  }
  const Head forward = head(config, kind, p, x, shape);
  Array weight(shape.tokens * n);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = sigmoid(kept(p.scale[0] * forward.mix[i] + p.bias[i % n]));
  Array shifted = weight;
  for (double& w : shifted) w += config.pre_eps;
  const PreGradients through = pre_backward(x, shifted, d_y, shape);
  out.d_x = through.d_x;
  for (int64_t t = 0; t < shape.tokens; ++t) {
    Array d_mix(n);
    for (int64_t i = 0; i < n; ++i) {
      const double w = weight[t * n + i], d_z = kept(through.d_pre_mix[t * n + i] * w * (1 - w));
      add(out.d_parameters.bias[i], d_z);
      add(out.d_parameters.scale[0], d_z * forward.mix[t * n + i]);
      d_mix[i] = d_z * p.scale[0];
    }
    project_backward(config, p, &x[t * row], row, d_mix, &forward.mix[t * n], forward.inv_rms[t], &out.d_x[t * row],
                     out.d_parameters);
  }
  return out;
}

}  // namespace oracle
