// SPDX-License-Identifier: Apache-2.0
// The alternation once more, which leaves u and v of every iteration, and then back through them. What an iteration sends
// to the logarithm of K is -(a[i] v[j] + u[i] b[j]) K[i][j]: a and b are kept, and all iterations that share one K are
// applied to the gradients in one go.
#include "cuda/sinkhorn_large.h"

namespace mhc::cuda::large {
namespace {

class Back : public Alternation {
 public:
  MHC_FN Back(const Arguments& a, Team& team) : Alternation(a, team, true) {}

  MHC_FN void run_back(int64_t b) {
    run(b);
    from_result();
    int to = plan_.last;
    for (int t = plan_.last; t >= plan_.first; --t) {
      if (plan_.has_columns(t)) through(t);
      if (!was_fresh(t)) continue;
      apply(t, to);
      to = t - 1;
      if (t > plan_.first) enter(to);
    }
    through_start();
  }

 private:
  MHC_FN float u_of(int t, int64_t i) const { return was_fresh(t) ? 1.0f : load_fresh(tape_.u(t) + i); }
  MHC_FN float v_before(int t, int64_t j) const { return was_fresh(t) ? 1.0f : load_fresh(tape_.v(t - 1) + j); }
  MHC_FN const float* d_out(int64_t i) const { return a_.d_out.at(matrix_, i); }
  MHC_FN float* d_logits(int64_t i) const { return a_.out.at(matrix_, i); }

  // Makes the K in which iteration t took place.
  MHC_FN void enter(int t) {
    while (!was_fresh(t)) --t;
    each_shared_out([&](int64_t i) MHC_INLINE {
      store1(f_ + i, load_fresh(tape_.u(t) + i));
      store1(g_ + i, load_fresh(tape_.g(t) + i));
    });
    team_.meet();
    make_again();
  }

  // From d_out to the gradients of log u and log v at the end, past a last half-step of rows if it was one.
  MHC_APART void from_result() {
    const int t = plan_.last;
    const bool rows_last = !plan_.has_columns(t);
    each_own([&](int64_t j) MHC_INLINE { across_[j] = load_fresh(tape_.v(t) + j); });
    each_group(0.0f, [&](int64_t i, int rows) MHC_INLINE {
      float total[kGroup] = {};
      each_column_of(rows, [&](int r) MHC_INLINE { return row_of_k(i + r); }, [&](int64_t j, const float(&k)[kGroup]) MHC_INLINE {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          if (r < rows) total[r] = fmaf(k[r] * across_[j], load1(d_out(i + r) + j), total[r]);
          group_[r * a_.pitch + j] = k[r];
        }
      });
      sums_.put(total);
      settle_rows(rows, [&](int r) MHC_INLINE {
        const float u = u_of(t, i + r);
        float gradient = sums_.total(r) * u, a = 0.0f;
        if (rows_last) {
          float* kept = tape_.kept_u(t) + i + r;
          const float by = load_fresh(kept);
          a = plan_.pull(gradient, by) * u;
          store1(kept, a);
          gradient = gradient * by;
        }
        store1(d_u_ + i + r, gradient);
        store1(row_sums_ + i + r, 0.0f);
        return a;
      });
      float u[kGroup];
#pragma unroll
      for (int r = 0; r < kGroup; ++r) u[r] = r < rows ? u_of(t, i + r) : 0.0f;
      each_own([&](int64_t j) MHC_INLINE {
        float sum = gathered_[j];
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          if (r < rows) sum = fmaf(group_[r * a_.pitch + j], fmaf(load1(d_out(i + r) + j), u[r], -of_row(r)), sum);
        }
        gathered_[j] = sum;
      });
    });
    each_total(Adding{}, [&](int64_t j, float total) MHC_INLINE {
      store1(d_v_ + j, load_fresh(tape_.v(t) + j) * total);
      if (rows_last) store1(tape_.kept_v(t) + j, 0.0f);
    });
    team_.meet();
  }

  // Through iteration t: its columns, then its rows.
  MHC_APART void through(int t) {
    float *a = tape_.kept_u(t), *b = tape_.kept_v(t);
    each_shared_out([&](int64_t j) MHC_INLINE {
      const float kept = load_fresh(b + j), gradient = load_fresh(d_v_ + j);
      store1(b + j, plan_.pull(gradient, kept) * load_fresh(tape_.v(t) + j));
      store1(d_v_ + j, gradient * kept);
      if (!plan_.has_rows(t)) store1(a + j, 0.0f);
    });
    team_.meet();
    if (!plan_.has_rows(t)) return;
    each_own([&](int64_t j) MHC_INLINE { across_[j] = load_fresh(b + j); });
    each_group(0.0f, [&](int64_t i, int rows) MHC_INLINE {
      float total[kGroup] = {};
      each_column_of(rows, [&](int r) MHC_INLINE { return row_of_k(i + r); }, [&](int64_t j, const float(&k)[kGroup]) MHC_INLINE {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          total[r] = fmaf(k[r], across_[j], total[r]);
          group_[r * a_.pitch + j] = k[r];
        }
      });
      sums_.put(total);
      settle_rows(rows, [&](int r) MHC_INLINE {
        const float u = u_of(t, i + r), kept = load_fresh(a + i + r);
        const float gradient = load_fresh(d_u_ + i + r) - u * sums_.total(r), out = plan_.pull(gradient, kept) * u;
        store1(a + i + r, out);
        store1(d_u_ + i + r, gradient * kept);
        return out;
      });
      add_group();
    });
    each_total(Adding{}, [&](int64_t j, float total) MHC_INLINE { store1(d_v_ + j, load_fresh(d_v_ + j) - v_before(t, j) * total); });
    team_.meet();
  }

  // Adds to d_logits what iterations from ... to, which share one K, send to its logarithm; at the end of all also what
  // d_out sends there directly.
  MHC_APART void apply(int from, int to) {
    const bool direct = to == plan_.last, add = a_.accumulate || !direct;
    for (int64_t band = team_.rank(); band < a_.bands; band += team_.blocks()) {
      for (int64_t i = band * a_.band; i < band_end(band); i += kGroup) {
        const int rows = static_cast<int>(band_end(band) - i < kGroup ? band_end(band) - i : kGroup);
        float whole[kGroup] = {};
        each_own([&](int64_t j) MHC_INLINE {
          float sent[kGroup];
          gather(from, to, i, rows, j, sent);
#pragma unroll
          for (int r = 0; r < kGroup; ++r) {
            if (r >= rows) continue;
            float d = -sent[r];
            if (direct) d = fmaf(load1(d_out(i + r) + j), u_of(to, i + r) * load_fresh(tape_.v(to) + j), d);
            d = d * load1(row_of_k(i + r) + j);
            if (plan_.start_eps > 0.0f) {
              const float p = exp(F{load1(logits(i + r) + j) + load_fresh(shift_ + i + r)}).v;
              d = d * (p / (p + plan_.start_eps));
            }
            whole[r] = whole[r] + d;
            float* out = d_logits(i + r) + j;
            store1(out, add ? load1(out) + d : d);
          }
        });
        sums_.put(whole);
        if (thread_index() < rows) {
          float* sum = row_sums_ + i + thread_index();
          store1(sum, load_fresh(sum) + sums_.total(thread_index()));
        }
      }
    }
    team_.meet();
  }

  // a v + u b of the iterations, for a column of the group.
  MHC_FN void gather(int from, int to, int64_t i, int rows, int64_t j, float (&sent)[kGroup]) const {
    const float b_from = load_fresh(tape_.kept_v(from) + j);
#pragma unroll
    for (int r = 0; r < kGroup; ++r) sent[r] = r < rows ? load_fresh(tape_.kept_u(from) + i + r) + b_from : 0.0f;
    for (int t = from + 1; t <= to; ++t) {
      const float before = load_fresh(tape_.v(t - 1) + j), b = load_fresh(tape_.kept_v(t) + j);
#pragma unroll
      for (int r = 0; r < kGroup; ++r) {
        if (r >= rows) continue;
        const float a = load_fresh(tape_.kept_u(t) + i + r), u = load_fresh(tape_.u(t) + i + r);
        sent[r] = fmaf(a, before, fmaf(u, b, sent[r]));
      }
    }
  }

  // Through what the start did to a row as a whole.
  MHC_APART void through_start() {
    if (plan_.start == MHC_SINKHORN_EXP) return;
    for (int64_t band = team_.rank(); band < a_.bands; band += team_.blocks()) {
      for (int64_t i = band * a_.band; i < band_end(band); i += kGroup) {
        const int rows = static_cast<int>(band_end(band) - i < kGroup ? band_end(band) - i : kGroup);
        float shift[kGroup], share[kGroup], count[kGroup] = {};  // of entries that are the maximum, which share in its gradient
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          shift[r] = r < rows ? load_fresh(shift_ + i + r) : 0.0f;
          share[r] = r < rows ? load_fresh(row_sums_ + i + r) : 0.0f;
        }
        if (!plan_.softmax) {
          each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
            for (int r = 0; r < kGroup; ++r) count[r] = l[r] + shift[r] < 0.0f ? count[r] : count[r] + 1.0f;
          });
          sums_.put(count);
#pragma unroll
          for (int r = 0; r < kGroup; ++r) share[r] = share[r] / sums_.total(r);
        }
        each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t j, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
          for (int r = 0; r < kGroup; ++r) {
            if (r >= rows) continue;
            const float x = l[r] + shift[r], away = plan_.softmax ? exp(F{x}).v * share[r] : x < 0.0f ? 0.0f : share[r];
            float* out = d_logits(i + r) + j;
            store1(out, load1(out) - away);
          }
        });
      }
    }
  }
};

MHC_KERNEL(kMostThreads) sinkhorn_large_backward_kernel(MHC_CONSTANT Arguments a) {
  Team team(a.blocks, a.counters);
  Back back(a, team);
  const int64_t teams = block_count() / a.blocks;
  for (int64_t b = team.index(); b < a.batch; b += teams) {
    back.run_back(b);
    team.meet();
  }
  team.leave();
}

}  // namespace

size_t sinkhorn_large_backward_space(const Large& large, const DeviceProperties& device) { return Shape(large, true, device).bytes(); }

void sinkhorn_large_backward(const Large& large, Job& job) {
  Shape shape(large, true, job.device);
  shape.a.workspace = reinterpret_cast<float*>(job.workspace);
  shape.a.counters = job.counters;
  job.launch(shape.grid, sinkhorn_large_backward_kernel, shape.a);
}

}  // namespace mhc::cuda::large
