// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "oracle.h"

namespace oracle {
namespace {

Array transposed(const Array& m, int64_t n) {
  Array t(m.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) t[j * n + i] = m[i * n + j];
  return t;
}

Array product(const Array& a, const Array& b, int64_t n) {
  Array out(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n; ++k)
      for (int64_t j = 0; j < n; ++j) out[i * n + j] += a[i * n + k] * b[k * n + j];
  return out;
}

double largest_row_sum(const Array& m, int64_t n) {
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(std::accumulate(&m[i * n], &m[i * n] + n, 0.0)));
  return largest;
}

// Turns the plane of p and q so that s[p][q] vanishes.
void rotate(Array& s, int64_t n, int64_t p, int64_t q) {
  if (s[p * n + q] == 0) return;
  const double theta = 0.5 * std::atan2(2 * s[p * n + q], s[q * n + q] - s[p * n + p]);
  const double cosine = std::cos(theta), sine = std::sin(theta);
  for (int64_t k = 0; k < n; ++k) {
    const double a = s[k * n + p], b = s[k * n + q];
    s[k * n + p] = cosine * a - sine * b;
    s[k * n + q] = sine * a + cosine * b;
  }
  for (int64_t k = 0; k < n; ++k) {
    const double a = s[p * n + k], b = s[q * n + k];
    s[p * n + k] = cosine * a - sine * b;
    s[q * n + k] = sine * a + cosine * b;
  }
}

// Jacobi's method.
double largest_eigenvalue(Array s, int64_t n) {
  for (int sweep = 0; sweep < 30; ++sweep)
    for (int64_t p = 0; p < n; ++p)
      for (int64_t q = p + 1; q < n; ++q) rotate(s, n, p, q);
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, s[i * n + i]);
  return largest;
}

// sup |Hv| / |v| over vectors v whose entries sum to zero.
double contraction(const Array& h, int64_t n) {
  if (n == 1) return 0;
  Array mean_free(n * n, -1.0 / n);
  for (int64_t i = 0; i < n; ++i) mean_free[i * n + i] += 1;
  const Array restricted = product(h, mean_free, n);
  return std::sqrt(largest_eigenvalue(product(transposed(restricted, n), restricted, n), n));
}

}  // namespace

Gain gain(int32_t orientation, const Array& res_mix, int64_t layers, int64_t tokens, int64_t n) {
  Gain out;
  std::vector<Array> running(tokens);
  for (int64_t l = 0; l < layers; ++l)
    for (int64_t t = 0; t < tokens; ++t) {
      const double* stored = &res_mix[(l * tokens + t) * n * n];
      Array h(stored, stored + n * n);
      if (orientation == MHC_IN_OUT) h = transposed(h, n);
      running[t] = l == 0 ? h : product(h, running[t], n);
      out.forward.push_back(largest_row_sum(h, n));
      out.backward.push_back(largest_row_sum(transposed(h, n), n));
      out.contraction.push_back(contraction(h, n));
      out.composite_forward.push_back(largest_row_sum(running[t], n));
      out.composite_backward.push_back(largest_row_sum(transposed(running[t], n), n));
      out.composite_contraction.push_back(contraction(running[t], n));
    }
  return out;
}

Array doubly_stochastic_distance(const Array& matrix, int64_t batch, int64_t k) {
  Array out;
  for (int64_t b = 0; b < batch; ++b) {
    const Array m(&matrix[b * k * k], &matrix[b * k * k] + k * k), t = transposed(m, k);
    double distance = 0;
    for (const Array& side : {m, t})
      for (int64_t i = 0; i < k; ++i)
        distance = std::max(distance, std::fabs(std::accumulate(&side[i * k], &side[i * k] + k, 0.0) - 1));
    for (double v : m) distance = std::isnan(v) ? v : std::max(distance, -v);
    out.push_back(std::any_of(m.begin(), m.end(), [](double v) { return std::isnan(v); }) ? NAN : distance);
  }
  return out;
}

double bottleneck(const Array& matrix, int64_t k) {
  std::vector<int> order(k);
  std::iota(order.begin(), order.end(), 0);
  double best = 0;
  do {
    double least = matrix[order[0]];
    for (int64_t i = 1; i < k; ++i) least = std::min(least, matrix[i * k + order[i]]);
    best = std::max(best, least);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

double best_plan_cost(int32_t streams, const std::vector<int32_t>& stage_layers) {
  const int32_t longest_stage = *std::max_element(stage_layers.begin(), stage_layers.end());
  double best = INFINITY;
  for (int32_t length = 1; length <= longest_stage; ++length) {
    int64_t blocks = 0;
    for (int32_t layers : stage_layers) blocks += (layers + length - 1) / length;
    best = std::min(best, (double)streams * blocks + (streams + 2.0) * length);
  }
  return best;
}

}  // namespace oracle
