// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "oracle.h"

namespace oracle {
namespace {

void add(double& to, double term) { to = kept(to + term); }
void add(Array& to, const Array& from) {
  for (size_t i = 0; i < from.size(); ++i) add(to[i], from[i]);
}

// Index of H_res[out][in] in a stored matrix.
int64_t entry(int32_t orientation, int64_t out, int64_t in, int64_t n) {
  return orientation == MHC_OUT_IN ? out * n + in : in * n + out;
}

}  // namespace

Array pre(const Array& x, const Array& pre_mix, Shape s) {
  Array h(s.tokens * s.width);
  for (int64_t t = 0; t < s.tokens; ++t)
    for (int64_t i = 0; i < s.streams; ++i)
      for (int64_t c = 0; c < s.width; ++c)
        add(h[t * s.width + c], pre_mix[t * s.streams + i] * x[t * s.row() + i * s.width + c]);
  return h;
}

PreGradients pre_backward(const Array& x, const Array& pre_mix, const Array& d_h, Shape s) {
  PreGradients out{Array(x.size()), Array(pre_mix.size())};
  for (int64_t t = 0; t < s.tokens; ++t)
    for (int64_t i = 0; i < s.streams; ++i)
      for (int64_t c = 0; c < s.width; ++c) {
        const int64_t at = t * s.row() + i * s.width + c;
        out.d_x[at] = kept(pre_mix[t * s.streams + i] * d_h[t * s.width + c]);
        add(out.d_pre_mix[t * s.streams + i], x[at] * d_h[t * s.width + c]);
      }
  return out;
}

Array post(int32_t orientation, const Array& x, const Array& f, const Array& post_mix, const Array& res_mix, Shape s) {
  Array next(x.size());
  const int64_t n = s.streams;
  for (int64_t t = 0; t < s.tokens; ++t)
    for (int64_t o = 0; o < n; ++o)
      for (int64_t c = 0; c < s.width; ++c) {
        double sum = kept(post_mix[t * n + o] * f[t * s.width + c]);
        for (int64_t i = 0; i < n; ++i)
          add(sum, res_mix[t * n * n + entry(orientation, o, i, n)] * x[t * s.row() + i * s.width + c]);
        next[t * s.row() + o * s.width + c] = sum;
      }
  return next;
}

PostGradients post_backward(int32_t orientation, const Array& x, const Array& f, const Array& post_mix,
                            const Array& res_mix, const Array& d_x_next, Shape s) {
  PostGradients out{Array(x.size()), Array(f.size()), Array(post_mix.size()), Array(res_mix.size())};
  const int64_t n = s.streams;
  for (int64_t t = 0; t < s.tokens; ++t)
    for (int64_t o = 0; o < n; ++o)
      for (int64_t c = 0; c < s.width; ++c) {
        const double d = d_x_next[t * s.row() + o * s.width + c];
        add(out.d_f[t * s.width + c], post_mix[t * n + o] * d);
        add(out.d_post_mix[t * n + o], d * f[t * s.width + c]);
        for (int64_t i = 0; i < n; ++i) {
          const int64_t h = t * n * n + entry(orientation, o, i, n), at = t * s.row() + i * s.width + c;
          add(out.d_x[at], res_mix[h] * d);
          add(out.d_res_mix[h], d * x[at]);
        }
      }
  return out;
}

Norm rmsnorm(const Array& x, const Array& weight, double eps, int64_t width) {
  Norm out{Array(x.size()), {}};
  for (size_t base = 0; base < x.size(); base += width) {
    const double inv = kept(1 / std::sqrt(dot(&x[base], &x[base], width) / width + eps));
    out.inv_rms.push_back(inv);
    for (int64_t c = 0; c < width; ++c) out.y[base + c] = x[base + c] * inv * (weight.empty() ? 1 : weight[c]);
  }
  return out;
}

NormGradients rmsnorm_backward(const Array& x, const Array& weight, const Array& d_y, double eps, int64_t width) {
  NormGradients out{Array(x.size()), Array(width)};
  const Norm forward = rmsnorm(x, weight, eps, width);
  for (size_t base = 0; base < x.size(); base += width) {
    const double inv = forward.inv_rms[base / width];
    double inner = 0;
    for (int64_t c = 0; c < width; ++c) {
      add(inner, d_y[base + c] * (weight.empty() ? 1 : weight[c]) * x[base + c]);
      add(out.d_weight[c], d_y[base + c] * x[base + c] * inv);
    }
    for (int64_t c = 0; c < width; ++c) {
      const double direct = kept(d_y[base + c] * (weight.empty() ? 1 : weight[c]) * inv);
      out.d_x[base + c] = direct - kept(inner * inv * inv * inv * x[base + c] / width);
    }
  }
  return out;
}

BoundaryResult boundary(const Boundary& b) {
  BoundaryResult out;
  Array entering = b.x;
  if (!b.f.empty()) {
    out.x_next = post(b.config.orientation, b.x, b.f, b.post_mix, b.res_mix, b.shape);
    entering = b.x_next.empty() ? rounded(b.stream_type, out.x_next) : b.x_next;
  }
  out.next = coefficients(b.config, b.parameters, entering, b.shape);
  out.h = pre(entering, b.config.shifted ? b.shifted_pre_mix : out.next.pre_mix, b.shape);
  if (b.norm_weight.empty()) return out;
  out.y = rmsnorm(b.h.empty() ? rounded(b.layer_type, out.h) : b.h, b.norm_weight, b.norm_eps, b.shape.width).y;
  return out;
}

BoundaryGradients boundary_backward(const Boundary& b, const BoundaryCotangents& d) {
  BoundaryGradients out;
  const BoundaryResult forward = boundary(b);
  Array entering = b.x_next;
  if (entering.empty()) entering = b.f.empty() ? b.x : rounded(b.stream_type, forward.x_next);

  Array d_h = d.d_h;
  if (!b.norm_weight.empty()) {
    const Array h = b.h.empty() ? rounded(b.layer_type, forward.h) : b.h;
    const NormGradients through = rmsnorm_backward(h, b.norm_weight, d.d_h, b.norm_eps, b.shape.width);
    d_h = through.d_x;
    out.d_norm_weight = through.d_weight;
  }
  const PreGradients pre_gradients =
      pre_backward(entering, b.config.shifted ? b.shifted_pre_mix : forward.next.pre_mix, d_h, b.shape);
  if (b.config.shifted) out.d_shifted_pre_mix = pre_gradients.d_pre_mix;
  const CoefficientGradients coefficient_gradients =
      coefficients_backward(b.config, b.parameters, entering, b.shape,
                            b.config.shifted ? d.d_pre_mix_next : pre_gradients.d_pre_mix, d.d_post_mix_next, d.d_res_mix_next);
  out.d_parameters = coefficient_gradients.d_parameters;

  Array d_entering = pre_gradients.d_x;
  add(d_entering, coefficient_gradients.d_x);
  add(d_entering, d.d_x_next);
  if (b.f.empty()) {
    out.d_x = d_entering;
    return out;
  }
  const PostGradients through = post_backward(b.config.orientation, b.x, b.f, b.post_mix, b.res_mix, d_entering, b.shape);
  out.d_x = through.d_x;
  out.d_f = through.d_f;
  out.d_post_mix = through.d_post_mix;
  out.d_res_mix = through.d_res_mix;
  return out;
}

Array expand(const Array& embedding, Shape s) {
  return post(MHC_OUT_IN, Array(s.tokens * s.row()), embedding, Array(s.tokens * s.streams, 1.0),
              Array(s.tokens * s.streams * s.streams), s);
}

Array expand_backward(const Array& d_x, Shape s) { return pre(d_x, Array(s.tokens * s.streams, 1.0), s); }

}  // namespace oracle
