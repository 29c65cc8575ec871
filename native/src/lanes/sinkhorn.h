// SPDX-License-Identifier: Apache-2.0
// Alternating normalisation of small matrices, and back: a matrix a lane, and a lane never sees another. Only config's
// iterations and sinkhorn_* fields count.
//
// The iterates are kept as u[a] K[a][b] v[b]: K stays, a half-step renews one of the two vectors with n dot products and
// n divisions. Index a is the one that the first half-step of an iteration sums over, b the one that the second sums over.
//
// Exactness of the start. Where sums are divided by themselves (no eps), exp(L) may be scaled along the direction that is
// normalised first without changing anything: K is exp(L[a][b] - c[b]), c the maximum. In K each row is scaled to a
// maximum of 1 as well, the scale rho[a] going where the alternation finds it: into u. So no sum can vanish: those of the
// first half-step are at least 1, all later ones are between 1/n and n. An eps added to a sum or bounding it is absolute;
// scaling the sum by exp(-c) scales that first eps by exp(-c) too, and from there on the matrix has its true size. There
// a row or column that is below exp(-87) as a whole counts as zero, as it does in the formula computed in fp32.
#pragma once

#include "lanes/elementary.h"
#include "lanes/repeat.h"
#include "mhc/mhc.h"

namespace MHC_LANES::alternation {

// What a config comes to.
struct Plan {
  int n, iterations;
  bool rows_first;  // a is the caller's column, b its row
  int32_t start, eps_mode;
  float eps;
  int period;  // iterations after which u and v are multiplied into K, so that they stay far from overflow

  MHC_HOST_DEVICE Plan(const mhc_config& config, int size)
      : n(size),
        iterations(config.iterations),
        rows_first(config.sinkhorn_order == MHC_SINKHORN_ROWS_FIRST),
        start(config.sinkhorn_start),
        eps_mode(config.sinkhorn_eps == 0.0f ? MHC_EPS_NONE : config.sinkhorn_eps_mode),
        eps(config.sinkhorn_eps) {
    // The first half-step undoes these exactly.
    bool row_scale_is_free = rows_first && eps_mode == MHC_EPS_NONE;
    if (start == MHC_SINKHORN_EXP_MINUS_ROW_MAX && row_scale_is_free) start = MHC_SINKHORN_EXP;
    if (start == MHC_SINKHORN_SOFTMAX_PLUS_EPS && row_scale_is_free && eps == 0.0f) start = MHC_SINKHORN_EXP;
    int bits = 1;
    while ((1 << bits) < n) ++bits;
    period = 60 / bits;  // an iteration changes u and v by n at most where sums are not below 1/n
  }

  // Iterations in runs of one period.
  MHC_HOST_DEVICE int runs() const { return (iterations + period - 1) / period; }
  MHC_HOST_DEVICE int run_length(int run) const {
    int left = iterations - run * period;
    return left < period ? left : period;
  }
};

template <int N>
struct Size {
  int n_;
  MHC_FN int n() const { return N == kAnyStreams ? n_ : N; }
  MHC_FN int entries() const { return n() * n(); }
  template <class Body>
  MHC_FN void each(Body&& body) const {
    repeat<N>(n_, body);
  }
  template <class Body>
  MHC_FN void each2(Body&& body) const {
    each([&](auto a) MHC_INLINE { each([&](auto b) MHC_INLINE { body(a, b); }); });
  }
};

// The caller's matrix to [a][b], and back. Indices of arrays are never computed, so that those stay in registers.
template <int N>
MHC_FN void bring(const Plan& plan, Size<N> size, const F* matrix, F* k) {
  const int n = size.n();
  if (plan.rows_first) {
    size.each2([&](auto a, auto b) MHC_INLINE { k[a * n + b] = matrix[b * n + a]; });
  } else {
    size.each2([&](auto a, auto b) MHC_INLINE { k[a * n + b] = matrix[a * n + b]; });
  }
}
template <int N, class Entry>
MHC_FN void give_back(const Plan& plan, Size<N> size, F* matrix, const Entry& entry) {
  const int n = size.n();
  if (plan.rows_first) {
    size.each2([&](auto a, auto b) MHC_INLINE { matrix[b * n + a] = entry(a, b); });
  } else {
    size.each2([&](auto a, auto b) MHC_INLINE { matrix[a * n + b] = entry(a, b); });
  }
}

// sum of x[i * stride] * y[i], in two interleaved sums.
template <int N>
MHC_FN F dot(Size<N> size, const F* x, int stride, const F* y) {
  F even = x[0] * y[0];
  if (size.n() == 1) return even;
  F odd = x[stride] * y[1];
  if constexpr (N == kAnyStreams) {
    int i = 2;
    for (; i + 1 < size.n(); i += 2) {
      even = fma(x[i * stride], y[i], even);
      odd = fma(x[(i + 1) * stride], y[i + 1], odd);
    }
    if (i < size.n()) even = fma(x[i * stride], y[i], even);
  } else {
    repeat<N - 2>(0, [&](auto j) MHC_INLINE {
      constexpr int i = j + 2;
      F& part = i % 2 ? odd : even;
      part = fma(x[i * stride], y[i], part);
    });
  }
  return even + odd;
}

template <int N>
MHC_FN F total(Size<N> size, const F* x, int stride) {
  F sum = x[0];
  size.each([&](auto i) MHC_INLINE {
    if (i > 0) sum = sum + x[i * stride];
  });
  return sum;
}

template <int N>
MHC_FN F maximum(Size<N> size, const F* x, int stride) {
  F most = x[0];
  size.each([&](auto i) MHC_INLINE { most = max(most, x[i * stride]); });
  return max(set(-3e38f), most);  // finite, so that -infinity minus it stays -infinity
}

// factor over what a config makes of its sum: the factor of the next iterate. Bounded, so that in front of zeros it
// cannot become infinite.
template <int EpsMode>
MHC_FN F renewed(F factor, F sum, F eps) {
  if constexpr (EpsMode == MHC_EPS_NONE) return set(1.0f) / sum;
  F divisor = EpsMode == MHC_EPS_ADD ? fma(factor, sum, eps) : max(eps, factor * sum);
  return min(set(1e30f), factor / divisor);
}

// The same, and the derivative of its logarithm by that of factor, with dot product and matrix held.
template <int EpsMode>
MHC_FN F renewed(F factor, F sum, F eps, F* kept) {
  if constexpr (EpsMode == MHC_EPS_ADD) *kept = eps / fma(factor, sum, eps);
  if constexpr (EpsMode == MHC_EPS_CLAMP) *kept = select_less(factor * sum, eps, set(1.0f), zero());
  return renewed<EpsMode>(factor, sum, eps);
}

// A row of the caller's matrix in K: with kColumn entry i of row r is K[i][r], else K[r][i].
template <bool kColumn, int N>
struct CallerRow {
  F* k;
  int r, n;
  MHC_FN F& operator[](int i) const { return kColumn ? k[i * n + r] : k[r * n + i]; }
  MHC_FN F maximum_of(Size<N> size) const { return maximum(size, kColumn ? k + r : k + r * n, kColumn ? n : 1); }
  MHC_FN F total_of(Size<N> size) const { return total(size, kColumn ? k + r : k + r * n, kColumn ? n : 1); }
};

// body(row) for each of the caller's rows in K.
template <int N, class Body>
MHC_FN void each_caller_row(const Plan& plan, Size<N> size, F* k, const Body& body) {
  if (plan.rows_first) {
    size.each([&](auto r) MHC_INLINE { body(CallerRow<true, N>{k, r, size.n()}); });
  } else {
    size.each([&](auto r) MHC_INLINE { body(CallerRow<false, N>{k, r, size.n()}); });
  }
}

template <int N, class Row>
MHC_FN void softmax(Size<N> size, Row row) {
  F most = row.maximum_of(size);
  size.each([&](auto i) MHC_INLINE { row[i] = exp(row[i] - most); });
  F scale = set(1.0f) / row.total_of(size);
  size.each([&](auto i) MHC_INLINE { row[i] = row[i] * scale; });
}

// From logits in K to K, u, v after the first half-step. kept is what renewed tells of v.
template <int N, int EpsMode>
MHC_FN void start(const Plan& plan, Size<N> size, F* k, F* u, F* v, F* kept) {
  const int n = size.n();
  const F eps = set(plan.eps), one = set(1.0f);
  if (plan.start == MHC_SINKHORN_SOFTMAX_PLUS_EPS) {
    each_caller_row(plan, size, k, [&](auto row) MHC_INLINE { softmax(size, row); });
    size.each2([&](auto a, auto b) MHC_INLINE { k[a * n + b] = k[a * n + b] + eps; });
    size.each([&](auto i) MHC_INLINE { u[i] = v[i] = one; });
    if (plan.rows_first) return;
    size.each([&](auto b) MHC_INLINE { v[b] = renewed<EpsMode>(one, total(size, k + b, n), eps, kept + b); });
    return;
  }
  if (plan.start == MHC_SINKHORN_EXP_MINUS_ROW_MAX) {
    each_caller_row(plan, size, k, [&](auto row) MHC_INLINE {
      F most = row.maximum_of(size);
      size.each([&](auto i) MHC_INLINE { row[i] = row[i] - most; });
    });
  }
  size.each([&](auto b) MHC_INLINE {
    F c = maximum(size, k + b, n);
    size.each([&](auto a) MHC_INLINE { k[a * n + b] = k[a * n + b] - c; });
    v[b] = c;
  });
  size.each([&](auto a) MHC_INLINE {
    F rho = maximum(size, k + a * n, 1);
    size.each([&](auto b) MHC_INLINE { k[a * n + b] = exp(k[a * n + b] - rho); });
    u[a] = exp(rho);
  });
  size.each([&](auto b) MHC_INLINE {
    F sum = dot(size, k + b, n, u);
    if constexpr (EpsMode == MHC_EPS_NONE) {
      v[b] = one / sum;
    } else {
      F half = exp(v[b] * set(-0.5f));  // twice, so that the product of eps and exp(-c) is what overflows
      v[b] = renewed<EpsMode>(one, sum, eps * half * half, kept + b);
    }
  });
}

template <int N, int EpsMode>
MHC_LARGE_FN void forward(const Plan& plan, F* matrix, F* scratch) {
  const Size<N> size{plan.n};
  const int n = size.n();
  const F eps = set(plan.eps);
  F registers[N == kAnyStreams ? 1 : N * N];
  F* const k = N == kAnyStreams ? scratch : registers;
  F u[kRoom<N>], v[kRoom<N>], kept[kRoom<N>];
  bring(plan, size, matrix, k);
  start<N, EpsMode>(plan, size, k, u, v, kept);
  size.each([&](auto a) MHC_INLINE { u[a] = renewed<EpsMode>(u[a], dot(size, k + a * n, 1, v), eps); });
  for (int run = 0; run < plan.runs(); ++run) {
    if (run > 0) {
      size.each2([&](auto a, auto b) MHC_INLINE { k[a * n + b] = k[a * n + b] * u[a] * v[b]; });
      size.each([&](auto i) MHC_INLINE { u[i] = v[i] = set(1.0f); });
    }
    for (int left = plan.run_length(run) - (run == 0 ? 1 : 0); left > 0; --left) {
      size.each([&](auto b) MHC_INLINE { v[b] = renewed<EpsMode>(v[b], dot(size, k + b, n, u), eps); });
      size.each([&](auto a) MHC_INLINE { u[a] = renewed<EpsMode>(u[a], dot(size, k + a * n, 1, v), eps); });
    }
  }
  give_back(plan, size, matrix, [&](auto a, auto b) MHC_INLINE { return k[a * n + b] * u[a] * v[b]; });
}

// What the walk back wants of one iteration, n vectors each. kept as renewed says, of v and u.
struct Step {
  F *v, *u, *kept_v, *kept_u;

  MHC_HOST_DEVICE static size_t vectors(const Plan& plan) { return (plan.eps_mode == MHC_EPS_NONE ? 2 : 4) * plan.n; }
  MHC_FN Step(const Plan& plan, F* tape, int iteration) {
    v = tape + iteration * vectors(plan);
    u = v + plan.n;
    kept_v = u + plan.n;
    kept_u = kept_v + plan.n;
  }
};

// Through u, v of one iteration. f and g hold the gradients of log u and log v and end as those of the iteration before,
// s gathers what, times -K, comes to the gradient of log K.
// u' = u / (u K v + eps) has d log u' = kept d log u - sum_b u' K v (d log K + d log v); a clamped sum leaves the first
// term alone.
template <int N, int EpsMode>
MHC_FN void back(Size<N> size, const F* k, const F* u_before, const Step& step, bool whole, F* f, F* g,
                            F* s) {
  const int n = size.n();
  F a[kRoom<N>], b[kRoom<N>];
  auto pull = [&](F gradient, F factor, F kept) MHC_INLINE {
    return (EpsMode == MHC_EPS_CLAMP ? gradient - gradient * kept : gradient) * factor;
  };
  auto past = [&](F gradient, F kept) MHC_INLINE { return EpsMode == MHC_EPS_NONE ? zero() : gradient * kept; };
  auto of = [&](const F* kept, int i) MHC_INLINE { return EpsMode == MHC_EPS_NONE ? zero() : kept[i]; };
  size.each([&](auto i) MHC_INLINE {
    a[i] = pull(f[i], step.u[i], of(step.kept_u, i));
    f[i] = past(f[i], of(step.kept_u, i));
  });
  size.each([&](auto j) MHC_INLINE { g[j] = g[j] - step.v[j] * dot(size, k + j, n, a); });
  size.each([&](auto j) MHC_INLINE {
    b[j] = whole ? pull(g[j], step.v[j], of(step.kept_v, j)) : zero();
    g[j] = whole ? past(g[j], of(step.kept_v, j)) : g[j];
  });
  size.each([&](auto i) MHC_INLINE { f[i] = f[i] - u_before[i] * dot(size, k + i * n, 1, b); });
  size.each2([&](auto i, auto j) MHC_INLINE {
    s[i * n + j] = fma(a[i], step.v[j], fma(b[j], u_before[i], s[i * n + j]));
  });
}

// d, in the caller's order, from the gradient of the starting matrix's logarithm to that of the logits. work[n*n].
template <int N>
MHC_LARGE_FN void start_backward(const Plan& plan, Size<N> size, const F* logits, F* d, F* work) {
  const int n = size.n();
  if (plan.start == MHC_SINKHORN_EXP) return;
  if (plan.start == MHC_SINKHORN_SOFTMAX_PLUS_EPS) {
    size.each2([&](auto r, auto i) MHC_INLINE { work[r * n + i] = logits[r * n + i]; });
    size.each([&](auto r) MHC_INLINE { softmax(size, CallerRow<false, N>{work, r, n}); });
  }
  size.each([&](auto r) MHC_INLINE {
    F *row = d + r * n, *p = work + r * n;
    const F* l = logits + r * n;
    if (plan.start == MHC_SINKHORN_SOFTMAX_PLUS_EPS) {
      if (plan.eps > 0.0f) {
        size.each([&](auto i) MHC_INLINE { row[i] = row[i] * (p[i] / (p[i] + set(plan.eps))); });
      }
      F sum = total(size, row, 1);
      size.each([&](auto i) MHC_INLINE { row[i] = row[i] - p[i] * sum; });
    } else {  // the maximum is subtracted; where several entries are that, each has an equal part in it
      F most = maximum(size, l, 1), count = zero();
      size.each([&](auto i) MHC_INLINE { count = count + select_less(l[i], most, zero(), set(1.0f)); });
      F share = total(size, row, 1) / count;
      size.each([&](auto i) MHC_INLINE { row[i] = row[i] - select_less(l[i], most, zero(), share); });
    }
  });
}

template <int N, int EpsMode>
MHC_LARGE_FN void backward(const Plan& plan, const F* logits, F* d_matrix, F* scratch) {
  const Size<N> size{plan.n};
  const int n = size.n(), entries = size.entries(), runs = plan.runs();
  const F eps = set(plan.eps), one = set(1.0f);
  F* const d = scratch;
  F* const sums = d + entries;
  F* const matrices = sums + entries;  // K of each run
  F* const u_start = matrices + runs * entries;
  F* const tape = u_start + n;

  F* k = matrices;
  F u[kRoom<N>], v[kRoom<N>];
  size.each([&](auto i) MHC_INLINE { u[i] = v[i] = one; });
  bring(plan, size, logits, k);
  int iteration = 0;
  for (int run = 0; run < runs; ++run) {
    if (run > 0) {
      size.each2([&](auto a, auto b) MHC_INLINE { k[entries + a * n + b] = k[a * n + b] * u[a] * v[b]; });
      size.each([&](auto i) MHC_INLINE { u[i] = v[i] = one; });
      k += entries;
    }
    for (int left = plan.run_length(run); left > 0; --left, ++iteration) {
      Step step(plan, tape, iteration);
      if (iteration == 0) {
        start<N, EpsMode>(plan, size, k, u, v, step.kept_v);
        size.each([&](auto a) MHC_INLINE { u_start[a] = u[a]; });
      } else {
        size.each([&](auto b) MHC_INLINE {
          v[b] = renewed<EpsMode>(v[b], dot(size, k + b, n, u), eps, step.kept_v + b);
        });
      }
      size.each([&](auto a) MHC_INLINE {
        u[a] = renewed<EpsMode>(u[a], dot(size, k + a * n, 1, v), eps, step.kept_u + a);
      });
      size.each([&](auto i) MHC_INLINE {
        step.v[i] = v[i];
        step.u[i] = u[i];
      });
    }
  }
  bring(plan, size, d_matrix, d);
  size.each2([&](auto a, auto b) MHC_INLINE { d[a * n + b] = d[a * n + b] * (k[a * n + b] * u[a] * v[b]); });

  for (int run = runs - 1; run >= 0; --run, k -= entries) {
    F f[kRoom<N>], g[kRoom<N>];
    F registers[N == kAnyStreams ? 1 : N * N];
    F* const s = N == kAnyStreams ? sums : registers;
    size.each([&](auto i) MHC_INLINE {
      f[i] = total(size, d + i * n, 1);
      g[i] = total(size, d + i, n);
    });
    size.each2([&](auto a, auto b) MHC_INLINE { s[a * n + b] = zero(); });
    for (int left = plan.run_length(run); left > 0; --left) {
      --iteration;
      const F* before = iteration == 0 ? u_start : Step(plan, tape, iteration - 1).u;
      size.each([&](auto i) MHC_INLINE { u[i] = left == 1 && iteration > 0 ? one : before[i]; });
      bool whole = iteration > 0 || plan.start != MHC_SINKHORN_SOFTMAX_PLUS_EPS || !plan.rows_first;
      back<N, EpsMode>(size, k, u, Step(plan, tape, iteration), whole, f, g, s);
    }
    size.each2([&](auto a, auto b) MHC_INLINE {  // s may have overflowed where K is zero
      F entry = k[a * n + b], pulled = entry * s[a * n + b];
      d[a * n + b] = d[a * n + b] - select_less(entry, set(0x1p-126f), zero(), pulled);
    });
  }
  give_back(plan, size, d_matrix, [&](auto a, auto b) MHC_INLINE { return d[a * n + b]; });
  start_backward(plan, size, logits, d_matrix, sums);
}

}  // namespace MHC_LANES::alternation

namespace MHC_LANES {

// Scratch that the two functions below want for n x n matrices, in F.
MHC_HOST_DEVICE inline size_t sinkhorn_lanes_scratch(int n) { return static_cast<size_t>(n) * n; }
MHC_HOST_DEVICE inline size_t sinkhorn_lanes_backward_scratch(const mhc_config& config, int n) {
  alternation::Plan plan(config, n);
  return static_cast<size_t>(2 + plan.runs()) * n * n + n + plan.iterations * alternation::Step::vectors(plan);
}

// matrix[n*n]: the logits, row by row, become the result. N is n, or kAnyStreams.
template <int N>
MHC_LARGE_FN void sinkhorn_lanes_of(const mhc_config& config, int n, F* matrix, F* scratch) {
  const alternation::Plan plan(config, n);
  if (plan.eps_mode == MHC_EPS_NONE) return alternation::forward<N, MHC_EPS_NONE>(plan, matrix, scratch);
  if (plan.eps_mode == MHC_EPS_ADD) return alternation::forward<N, MHC_EPS_ADD>(plan, matrix, scratch);
  alternation::forward<N, MHC_EPS_CLAMP>(plan, matrix, scratch);
}

// d_matrix[n*n]: the gradient of the result becomes that of the logits.
template <int N>
MHC_LARGE_FN void sinkhorn_lanes_backward_of(const mhc_config& config, int n, const F* logits, F* d_matrix, F* scratch) {
  const alternation::Plan plan(config, n);
  if (plan.eps_mode == MHC_EPS_NONE) return alternation::backward<N, MHC_EPS_NONE>(plan, logits, d_matrix, scratch);
  if (plan.eps_mode == MHC_EPS_ADD) return alternation::backward<N, MHC_EPS_ADD>(plan, logits, d_matrix, scratch);
  alternation::backward<N, MHC_EPS_CLAMP>(plan, logits, d_matrix, scratch);
}

}  // namespace MHC_LANES
