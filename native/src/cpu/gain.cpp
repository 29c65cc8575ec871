// SPDX-License-Identifier: Apache-2.0
// In double precision throughout, so that products over many layers keep what single ones show.
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// [out][in] of H_res, n of each.
struct Mixing {
  double at[kMaxStreams][kMaxStreams];
};

double larger(double a, double b) { return b > a || b != b ? b : a; }  // a NaN stays

double largest_row_sum(const Mixing& h, int n) {
  double most = 0;
  for (int o = 0; o < n; ++o) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += h.at[o][i];
    most = larger(most, std::fabs(sum));
  }
  return most;
}

double largest_column_sum(const Mixing& h, int n) {
  double most = 0;
  for (int i = 0; i < n; ++i) {
    double sum = 0;
    for (int o = 0; o < n; ++o) sum += h.at[o][i];
    most = larger(most, std::fabs(sum));
  }
  return most;
}

// Of a symmetric matrix without NaN or infinity, by Jacobi's rotations; s is used up.
double largest_eigenvalue(Mixing& s, int n) {
  constexpr int kSweeps = 30;  // far more than it takes; convergence is quadratic
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool diagonal = true;
    for (int p = 0; p < n; ++p) {
      for (int q = p + 1; q < n; ++q) {
        double off = s.at[p][q];
        if (std::fabs(off) <= 0x1p-60 * (std::fabs(s.at[p][p]) + std::fabs(s.at[q][q]))) continue;
        diagonal = false;
        double ratio = (s.at[q][q] - s.at[p][p]) / (2 * off);
        double t = 1 / (std::fabs(ratio) + std::sqrt(ratio * ratio + 1));  // 0 where the square overflows
        if (ratio < 0) t = -t;
        double cosine = 1 / std::sqrt(t * t + 1), sine = t * cosine;
        s.at[p][p] -= t * off;
        s.at[q][q] += t * off;
        s.at[p][q] = s.at[q][p] = 0;
        for (int k = 0; k < n; ++k) {
          if (k == p || k == q) continue;
          double a = s.at[p][k], b = s.at[q][k];
          s.at[p][k] = s.at[k][p] = cosine * a - sine * b;
          s.at[q][k] = s.at[k][q] = sine * a + cosine * b;
        }
      }
    }
    if (diagonal) break;
  }
  double most = 0;
  for (int i = 0; i < n; ++i) most = larger(most, s.at[i][i]);
  return most;
}

// sup of |H v| / |v| over v with entries that sum to 0: the largest singular value of H (I - 11^T / n).
double contraction(const Mixing& h, int n) {
  if (n == 1) return 0;
  Mixing restricted, gram;
  double scale = 0;
  for (int o = 0; o < n; ++o) {
    double mean = 0;
    for (int i = 0; i < n; ++i) mean += h.at[o][i] / n;
    for (int i = 0; i < n; ++i) {
      restricted.at[o][i] = h.at[o][i] - mean;
      scale = larger(scale, std::fabs(restricted.at[o][i]));
    }
  }
  if (scale == 0) return 0;
  if (!std::isfinite(scale)) return NAN;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = 0;
      for (int o = 0; o < n; ++o) sum += restricted.at[o][i] / scale * (restricted.at[o][j] / scale);
      gram.at[i][j] = gram.at[j][i] = sum;
    }
  }
  return scale * std::sqrt(largest_eigenvalue(gram, n));
}

Mixing product(const Mixing& a, const Mixing& b, int n) {
  Mixing out;
  for (int o = 0; o < n; ++o) {
    double row[kMaxStreams] = {};
    for (int k = 0; k < n; ++k) {
      for (int i = 0; i < n; ++i) row[i] += a.at[o][k] * b.at[k][i];
    }
    for (int i = 0; i < n; ++i) out.at[o][i] = row[i];
  }
  return out;
}

void write_gains(const Mixing& h, int n, int64_t layer, int64_t token, const View& forward, const View& backward,
                 const View& contracted) {
  if (forward) store1(forward.at<float>(layer, token), static_cast<float>(largest_row_sum(h, n)));
  if (backward) store1(backward.at<float>(layer, token), static_cast<float>(largest_column_sum(h, n)));
  if (contracted) store1(contracted.at<float>(layer, token), static_cast<float>(contraction(h, n)));
}

void gain_token(const GainProblem& p, int64_t token) {
  const int n = p.streams;
  const bool composite = p.composite_forward || p.composite_backward || p.composite_contraction;
  Mixing running;
  for (int64_t l = 0; l < p.layers; ++l) {
    Mixing h;
    const float* row = p.res_mix.at<float>(l, token);
    for (int r = 0; r < n; ++r, row += p.res_mix.stride[2]) {
      for (int c = 0; c < n; ++c) {
        (p.orientation == MHC_OUT_IN ? h.at[r][c] : h.at[c][r]) = load1(row + c);
      }
    }
    write_gains(h, n, l, token, p.forward, p.backward, p.contraction);
    if (!composite) continue;
    running = l == 0 ? h : product(h, running, n);
    write_gains(running, n, l, token, p.composite_forward, p.composite_backward, p.composite_contraction);
  }
}

}  // namespace

Space gain_space(const GainProblem&, int) { return {}; }

void gain(const GainProblem& p, const Job& job) {
  for_token_blocks(job.pool, p.tokens, 8, [&](int, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) gain_token(p, t);
  });
}

}  // namespace mhc::cpu::MHC_TIER
