// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "oracle.h"

namespace oracle {
namespace {

// long double: exp(L) without a shift reaches L = 11000, and the iterates lose nothing that a double could show.
using Matrix = std::vector<long double>;

struct HalfStep {
  bool rows;
};

std::vector<HalfStep> half_steps(const mhc_config& config) {
  const bool rows_first = config.sinkhorn_order == MHC_SINKHORN_ROWS_FIRST;
  std::vector<HalfStep> steps;
  for (int32_t i = 0; i < config.iterations; ++i) {
    steps.push_back({rows_first});
    steps.push_back({!rows_first});
  }
  if (rows_first && config.sinkhorn_start == MHC_SINKHORN_SOFTMAX_PLUS_EPS) steps.erase(steps.begin());
  return steps;
}

long double denominator(const mhc_config& config, long double sum) {
  if (config.sinkhorn_eps_mode == MHC_EPS_ADD) return sum + config.sinkhorn_eps;
  if (config.sinkhorn_eps_mode == MHC_EPS_CLAMP) return std::max(sum, (long double)config.sinkhorn_eps);
  return sum;
}

size_t at(bool rows, int64_t line, int64_t i, int64_t k) { return rows ? line * k + i : i * k + line; }

long double line_sum(const Matrix& m, bool rows, int64_t line, int64_t k) {
  long double sum = 0;
  for (int64_t i = 0; i < k; ++i) sum = kept(sum + m[at(rows, line, i, k)]);
  return sum;
}

Matrix normalised(const mhc_config& config, const Matrix& m, bool rows, int64_t k) {
  Matrix out(m.size());
  for (int64_t line = 0; line < k; ++line) {
    const long double d = denominator(config, line_sum(m, rows, line, k));
    for (int64_t i = 0; i < k; ++i) out[at(rows, line, i, k)] = kept(m[at(rows, line, i, k)] / d);
  }
  return out;
}

// d_out becomes the gradient of m.
void normalised_backward(const mhc_config& config, const Matrix& m, bool rows, int64_t k, Matrix& d_out) {
  for (int64_t line = 0; line < k; ++line) {
    const long double sum = line_sum(m, rows, line, k), d = denominator(config, sum);
    long double inner = 0;
    for (int64_t i = 0; i < k; ++i) inner = kept(inner + d_out[at(rows, line, i, k)] * kept(m[at(rows, line, i, k)] / d));
    const bool clamped = config.sinkhorn_eps_mode == MHC_EPS_CLAMP && sum < config.sinkhorn_eps;
    if (clamped) inner = 0;
    for (int64_t i = 0; i < k; ++i) d_out[at(rows, line, i, k)] = kept((d_out[at(rows, line, i, k)] - inner) / d);
  }
}

long double row_max(const double* logits, int64_t row, int64_t k) {
  return *std::max_element(logits + row * k, logits + (row + 1) * k);
}

Matrix started(const mhc_config& config, const double* logits, int64_t k) {
  Matrix m(k * k);
  for (int64_t r = 0; r < k; ++r) {
    const long double shift = config.sinkhorn_start == MHC_SINKHORN_EXP ? 0 : row_max(logits, r, k);
    for (int64_t c = 0; c < k; ++c) m[r * k + c] = kept(std::exp(kept((long double)logits[r * k + c] - shift)));
    if (config.sinkhorn_start != MHC_SINKHORN_SOFTMAX_PLUS_EPS) continue;
    const long double sum = line_sum(m, true, r, k);
    for (int64_t c = 0; c < k; ++c) m[r * k + c] = kept(m[r * k + c] / sum + config.sinkhorn_eps);
  }
  return m;
}

void started_backward(const mhc_config& config, const double* logits, const Matrix& m, const Matrix& d_m, int64_t k,
                      double* d_logits) {
  for (int64_t r = 0; r < k; ++r) {
    const bool softmax = config.sinkhorn_start == MHC_SINKHORN_SOFTMAX_PLUS_EPS;
    const long double eps = softmax ? config.sinkhorn_eps : 0, max = row_max(logits, r, k);
    long double inner = 0;
    for (int64_t c = 0; c < k; ++c) inner = kept(inner + d_m[r * k + c] * (m[r * k + c] - eps));
    const auto maxima = std::count(logits + r * k, logits + (r + 1) * k, (double)max);
    for (int64_t c = 0; c < k; ++c) {
      long double d = d_m[r * k + c] * (m[r * k + c] - eps);
      if (softmax) d = kept(d - inner * (m[r * k + c] - eps));
      if (config.sinkhorn_start == MHC_SINKHORN_EXP_MINUS_ROW_MAX && logits[r * k + c] == max) d = kept(d - inner / maxima);
      d_logits[r * k + c] = (double)d;
    }
  }
}

}  // namespace

Array sinkhorn(const mhc_config& config, const Array& logits, int64_t k) {
  Array out(logits.size());
  for (size_t base = 0; base < logits.size(); base += k * k) {
    Matrix m = started(config, &logits[base], k);
    for (HalfStep step : half_steps(config)) m = normalised(config, m, step.rows, k);
    std::copy(m.begin(), m.end(), out.begin() + base);
  }
  return out;
}

Array sinkhorn_backward(const mhc_config& config, const Array& logits, const Array& d_out, int64_t k) {
  Array d_logits(logits.size());
  const std::vector<HalfStep> steps = half_steps(config);
  for (size_t base = 0; base < logits.size(); base += k * k) {
    std::vector<Matrix> iterates{started(config, &logits[base], k)};
    for (HalfStep step : steps) iterates.push_back(normalised(config, iterates.back(), step.rows, k));
    Matrix d(d_out.begin() + base, d_out.begin() + base + k * k);
    for (size_t s = steps.size(); s-- > 0;) normalised_backward(config, iterates[s], steps[s].rows, k, d);
    started_backward(config, &logits[base], iterates[0], d, k, &d_logits[base]);
    // To take from d_out * out at once what all half-steps take from it, as one may, leaves the errors of such terms.
    double most = 0;
    for (int64_t i = 0; i < k * k; ++i) most = std::max(most, std::fabs(d_out[base + i]));
    for (int64_t i = 0; i < k * k; ++i) d_logits[base + i] += noise() * most * (double)iterates.back()[i];
  }
  return d_logits;
}

}  // namespace oracle
