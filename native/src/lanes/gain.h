// SPDX-License-Identifier: Apache-2.0
// How much a mixing matrix can amplify, of each layer and of the product of all up to it. In double precision throughout, so
// that products over many layers keep what single ones show.
#pragma once

#include <cmath>

#include "lanes/crew.h"

namespace MHC_LANES {

// For one token. Entry e of a matrix is `step` numbers behind entry e - 1, so that threads can interleave theirs.
template <class Crew>
class Gains {
 public:
  static MHC_HOST_DEVICE constexpr int numbers(int n) { return 4 * n * n + n; }

  MHC_FN Gains(const Crew& crew, int n, double* numbers, int step) : crew_(crew), n_(n), step_(step) {
    const int entries = n * n * step;
    layer_ = numbers;
    running_ = layer_ + entries;
    work_ = running_ + entries;
    gram_ = work_ + entries;
    sums_ = gram_ + entries;
  }

  // load(out, in): the layer's matrix.
  template <class Load>
  MHC_FN void enter(const Load& load) {
    crew_.meet();
    crew_.each(n_ * n_, [&](int e) MHC_INLINE { layer_[e * step_] = load(e / n_, e % n_); });
    crew_.meet();
  }
  // layer to the product; the first one starts it.
  MHC_FN void multiply(bool first) {
    crew_.each(n_ * n_, [&](int e) MHC_INLINE {
      const int o = e / n_, i = e % n_;
      double sum = first ? at(layer_, o, i) : 0.0;
      for (int k = 0; k < n_ && !first; ++k) sum += at(layer_, o, k) * at(running_, k, i);
      work_[e * step_] = sum;
    });
    crew_.meet();
    double* before = running_;
    running_ = work_;
    work_ = before;
  }
  MHC_FN const double* layer() const { return layer_; }
  MHC_FN const double* product() const { return running_; }

  MHC_FN double largest_row_sum(const double* h) {
    return largest_of([&](int o) MHC_INLINE {
      double sum = 0.0;
      for (int i = 0; i < n_; ++i) sum += at(h, o, i);
      return fabs(sum);
    });
  }
  MHC_FN double largest_column_sum(const double* h) {
    return largest_of([&](int i) MHC_INLINE {
      double sum = 0.0;
      for (int o = 0; o < n_; ++o) sum += at(h, o, i);
      return fabs(sum);
    });
  }

  // sup of |H v| / |v| over v with entries that sum to 0: the largest singular value of H (I - 11^T / n).
  MHC_FN double contraction(const double* h) {
    if (n_ == 1) return 0.0;
    const double scale = largest_of([&](int o) MHC_INLINE {
      double mean = 0.0, most = 0.0;
      for (int i = 0; i < n_; ++i) mean += at(h, o, i) / n_;
      for (int i = 0; i < n_; ++i) {
        at(work_, o, i) = at(h, o, i) - mean;
        most = larger(most, fabs(at(work_, o, i)));
      }
      return most;
    });
    if (scale == 0.0) return 0.0;
    if (!(scale < HUGE_VAL)) return NAN;
    crew_.each(n_ * n_, [&](int e) MHC_INLINE {
      double sum = 0.0;
      for (int o = 0; o < n_; ++o) sum += at(work_, o, e / n_) / scale * (at(work_, o, e % n_) / scale);
      gram_[e * step_] = sum;
    });
    crew_.meet();
    return scale * ::sqrt(largest_eigenvalue());
  }

 private:
  static MHC_FN double larger(double a, double b) { return b > a || b != b ? b : a; }  // a NaN stays
  MHC_FN double& at(double* matrix, int o, int i) const { return matrix[(o * n_ + i) * step_]; }
  MHC_FN double at(const double* matrix, int o, int i) const { return matrix[(o * n_ + i) * step_]; }

  // Of value(0) ... value(n - 1), which are not negative.
  template <class Value>
  MHC_FN double largest_of(const Value& value) {
    crew_.meet();
    crew_.each(n_, [&](int i) MHC_INLINE { sums_[i * step_] = value(i); });
    crew_.meet();
    double most = 0.0;
    for (int i = 0; i < n_; ++i) most = larger(most, sums_[i * step_]);
    return most;
  }

  // Of gram_, symmetric without NaN or infinity, by Jacobi's rotations.
  MHC_FN double largest_eigenvalue() {
    constexpr int kSweeps = 30;  // far more than it takes; convergence is quadratic
    bool diagonal = false;
    for (int sweep = 0; sweep < kSweeps && !diagonal; ++sweep) {
      diagonal = true;
      for (int p = 0; p < n_; ++p) {
        for (int q = p + 1; q < n_; ++q) {
          const double off = at(gram_, p, q), a = at(gram_, p, p), b = at(gram_, q, q);
          if (fabs(off) <= 0x1p-60 * (fabs(a) + fabs(b))) continue;
          diagonal = false;
          rotate(p, q, off, a, b);
        }
      }
    }
    double most = 0.0;
    for (int i = 0; i < n_; ++i) most = larger(most, at(gram_, i, i));
    return most;
  }
  MHC_FN void rotate(int p, int q, double off, double a, double b) {
    const double ratio = (b - a) / (2 * off), size = 1 / (fabs(ratio) + ::sqrt(ratio * ratio + 1));  // 0 where the square overflows
    const double t = ratio < 0 ? -size : size, cosine = 1 / ::sqrt(t * t + 1), sine = t * cosine;
    crew_.meet();
    crew_.each(n_, [&](int k) MHC_INLINE {
      if (k == p) {
        at(gram_, p, p) = a - t * off;
        at(gram_, q, q) = b + t * off;
        at(gram_, p, q) = at(gram_, q, p) = 0.0;
      } else if (k != q) {
        const double x = at(gram_, p, k), y = at(gram_, q, k);
        at(gram_, p, k) = at(gram_, k, p) = cosine * x - sine * y;
        at(gram_, q, k) = at(gram_, k, q) = sine * x + cosine * y;
      }
    });
    crew_.meet();
  }

  const Crew crew_;
  const int n_, step_;
  double *layer_, *running_, *work_, *gram_, *sums_;
};

}  // namespace MHC_LANES
