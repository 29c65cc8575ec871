// SPDX-License-Identifier: Apache-2.0
// Alternating normalisation of matrices beyond 16 x 16; the mathematics is in lanes/sinkhorn_large.h.
//
// A matrix to a team of blocks: one block and its shared memory up to 128 x 128; beyond, as many matrices at a time as the
// L2 cache can hold, and as many blocks for each as there are multiprocessors. Rows are cut into bands by the matrix's size alone. A pass goes through a band in groups of four
// rows: their sums give u, and u gives what they add to the band's column sums while they are still in shared memory, so an
// iteration reads K once. The bands' column sums go through memory and are added in a fixed order: results do not depend
// on the device. In a block a thread has the same columns in every pass, so that what belongs to a column needs no barrier.
#pragma once

#include "cuda/rows.h"
#include "cuda/sums.h"
#include "cuda/team.h"
#include "lanes/sinkhorn_large.h"

namespace mhc::cuda::large {

constexpr int kGroup = 4, kMostThreads = 512;
constexpr int kParts = 4;      // in which a column's bands are added up
constexpr int kAtOnce = 4;     // columns of a thread whose entries are on their way together

struct Arguments {
  int64_t batch;
  LargePlan plan;
  int64_t pitch, band, bands;  // of rows of the workspace; rows of a band
  int blocks;                  // of a team
  bool k_shared;               // K lies in shared memory
  bool columns_shared;         // what belongs to a block's columns as well
  bool accumulate;
  Array<const float> logits, d_out;
  Array<float> out;  // or d_logits
  float* workspace;
  int64_t workspace_step;  // floats of a team
  uint32_t* counters;
};

// What a call is, and how a matrix of its size is worked on.
struct Large {
  const mhc_config& config;
  int64_t batch, size;
  View logits, d_out, out;  // out is d_logits where there is a d_out
  bool accumulate;
};
struct Shape {
  Arguments a;
  Grid grid;
  int64_t teams;

  Shape(const Large& large, bool backward, const DeviceProperties& device);
  size_t bytes() const { return static_cast<size_t>(teams * a.workspace_step) * sizeof(float); }
};

size_t sinkhorn_large_space(const Large& large, const DeviceProperties& device);
void sinkhorn_large(const Large& large, Job& job);
size_t sinkhorn_large_backward_space(const Large& large, const DeviceProperties& device);
void sinkhorn_large_backward(const Large& large, Job& job);

constexpr int kOfIteration = 5;         // rows of the tape
constexpr int kOfColumns = kGroup + 2;  // rows that a block has: v, a band's sums, a group of K's

// What an iteration leaves for the way back.
struct Tape {
  float* base = nullptr;
  int64_t pitch = 0;
  int first = 0;

  MHC_FN float* at(int t, int row) const { return base + ((t - first) * kOfIteration + row) * pitch; }
  MHC_FN float* u(int t) const { return at(t, 0); }  // f where K is made in iteration t
  MHC_FN float* v(int t) const { return at(t, 1); }
  MHC_FN float* kept_u(int t) const { return at(t, 2); }  // a, what the rows' half-step sends back, once that is known
  MHC_FN float* kept_v(int t) const { return at(t, 3); }  // b, of the columns
  MHC_FN float* g(int t) const { return at(t, 4); }
};

using RowSums = OverBlock<kGroup>;
using RowMaxima = OverBlock<kGroup, Largest>;

// Floats of shared memory in front of what belongs to columns.
constexpr int kFixedFloats = RowSums::floats(kMostThreads) + RowMaxima::floats(kMostThreads) + kMostThreads + 2 * kGroup;

class Alternation {
 public:
  // Rows are taken as Shape counts them.
  MHC_FN Alternation(const Arguments& a, Team& team, bool backward)
      : a_(a), plan_(a.plan), team_(team), sums_(shared()), maxima_(shared() + RowSums::floats(kMostThreads)) {
    places_ = shared() + RowSums::floats(kMostThreads) + RowMaxima::floats(kMostThreads);
    of_row_ = places_ + kMostThreads;
    float* own = a.workspace + team.index() * a.workspace_step;
    auto take = [&](int64_t rows) MHC_INLINE {
      float* taken = own;
      own += rows * a.pitch;
      return taken;
    };
    shift_ = take(1);
    f_ = take(1);
    g_ = take(1);
    u_ = take(1);
    v_ = take(1);
    partial_ = take(a.bands);
    flags_ = take((2 * plan_.count() + a.pitch - 1) / a.pitch);
    if (backward) {
      tape_ = {take(int64_t{kOfIteration} * plan_.count()), a.pitch, plan_.first};
      d_u_ = take(1);
      d_v_ = take(1);
      row_sums_ = take(1);
    }
    across_ = a.columns_shared ? shared() + kFixedFloats : take(int64_t{kOfColumns} * a.blocks) + team.rank() * kOfColumns * a.pitch;
    gathered_ = across_ + a.pitch;
    group_ = gathered_ + a.pitch;
    kept_ = a.k_shared ? group_ + kGroup * a.pitch : backward ? take(plan_.k) : nullptr;
  }

  // From logits to K, u and v of matrix b.
  MHC_FN void run(int64_t b) {
    matrix_ = b;
    begin();
    bool fresh = true;
    for (int t = plan_.first; t <= plan_.last; ++t) {
      if (fresh) {
        if (t > plan_.first) fold();
        fresh_pass(t);
      } else {
        factor_pass(t);
      }
      if (team_.rank() == 0 && thread_index() == 0) store1(was_fresh_flag(t), fresh ? 1.0f : 0.0f);
      if (plan_.has_columns(t)) columns(t);
      if (tape_.base) record(t, fresh);
      fresh = plan_.columns_in_logarithms(t) || load_fresh(far_flag(t)) != 0.0f;
    }
  }

  // out = K u v
  MHC_FN void finish() {
    each_row([&](int64_t i) MHC_INLINE {
      const float u = load_fresh(u_ + i);
      const float* k = row_of_k(i);
      each_own([&](int64_t j) MHC_INLINE { store1(a_.out.at(matrix_, i, j), load1(k + j) * u * load_fresh(v_ + j)); });
    });
  }

 protected:
  static MHC_FN float* shared() { return reinterpret_cast<float*>(shared_memory()); }
  MHC_FN const float* logits(int64_t i) const { return a_.logits.at(matrix_, i); }
  // K is where the result will be, unless it has a place of its own.
  MHC_FN float* row_of_k(int64_t i) const { return kept_ ? kept_ + i * a_.pitch : a_.out.at(matrix_, i); }
  MHC_FN float* far_flag(int t) const { return flags_ + 2 * (t - plan_.first); }
  MHC_FN float* was_fresh_flag(int t) const { return far_flag(t) + 1; }
  MHC_FN bool was_fresh(int t) const { return load_fresh(was_fresh_flag(t)) != 0.0f; }

  // The thread's columns.
  template <class Body>
  MHC_FN void each_own(const Body& body) const {
    for (int64_t j = thread_index(); j < plan_.k; j += block_threads()) body(j);
  }
  // Columns or rows shared out among the team's threads.
  template <class Body>
  MHC_FN void each_shared_out(const Body& body) const {
    const int64_t step = int64_t{team_.blocks()} * block_threads();
    for (int64_t i = int64_t{team_.rank()} * block_threads() + thread_index(); i < plan_.k; i += step) body(i);
  }
  // The block's rows.
  template <class Body>
  MHC_FN void each_row(const Body& body) const {
    for (int64_t band = team_.rank(); band < a_.bands; band += team_.blocks()) {
      for (int64_t i = band * a_.band; i < band_end(band); ++i) body(i);
    }
  }
  MHC_FN int64_t band_end(int64_t band) const { return (band + 1) * a_.band < plan_.k ? (band + 1) * a_.band : plan_.k; }

  // body(first row, rows) for the block's rows in groups, from initial sums of the band's columns to what add has made of
  // them. Ends when all bands' sums are in memory.
  template <class Body>
  MHC_FN void each_group(float initial, const Body& body) {
    for (int64_t band = team_.rank(); band < a_.bands; band += team_.blocks()) {
      each_own([&](int64_t j) MHC_INLINE { gathered_[j] = initial; });
      for (int64_t i = band * a_.band; i < band_end(band); i += kGroup) {
        body(i, static_cast<int>(band_end(band) - i < kGroup ? band_end(band) - i : kGroup));
      }
      each_own([&](int64_t j) MHC_INLINE { store1(partial_ + band * a_.pitch + j, gathered_[j]); });
    }
    team_.meet();
  }

  // body(column, its entries) for the thread's columns of a group; row(r) says where rows are.
  template <class Row, class Body>
  MHC_FN void each_column_of(int rows, const Row& row, const Body& body) const {
    const int64_t step = block_threads();
    for (int64_t first = thread_index(); first < plan_.k; first += kAtOnce * step) {
      float entry[kAtOnce][kGroup];
#pragma unroll
      for (int q = 0; q < kAtOnce; ++q) {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          const int64_t j = first + q * step;
          entry[q][r] = j < plan_.k && r < rows ? load1(row(r) + j) : 0.0f;
        }
      }
#pragma unroll
      for (int q = 0; q < kAtOnce; ++q) {
        if (first + q * step < plan_.k) body(first + q * step, entry[q]);
      }
    }
  }
  // body(row of the group) by one thread each; what it returns is of_row(r) for all threads afterwards.
  template <class Body>
  MHC_FN void settle_rows(int rows, const Body& body) {
    turn_ ^= 1;
    if (thread_index() < kGroup) {
      const int r = thread_index();
      of_row_[turn_ * kGroup + r] = r < rows ? body(r) : 0.0f;
    }
    sync_block();
  }
  MHC_FN float of_row(int r) const { return of_row_[turn_ * kGroup + r]; }

  // of_row(r) times the group's rows to the column sums.
  MHC_FN void add_group() {
    each_own([&](int64_t j) MHC_INLINE {
      float sum = gathered_[j];
#pragma unroll
      for (int r = 0; r < kGroup; ++r) sum = fmaf(of_row(r), group_[r * a_.pitch + j], sum);
      gathered_[j] = sum;
    });
  }

  // body(column, what its bands come to), by one thread each.
  template <class Combine, class Body>
  MHC_FN void each_total(const Combine& combine, const Body& body) {
    const int across = block_threads() / kParts, part = thread_index() / across;
    const int64_t share = (a_.bands + kParts - 1) / kParts, first = part * share;
    const int64_t last = first + share < a_.bands ? first + share : a_.bands;
    for (int64_t run = int64_t{team_.rank()} * across; run < plan_.k; run += int64_t{team_.blocks()} * across) {
      const int64_t j = run + thread_index() % across;
      float total = 0.0f;
      if (j < plan_.k && first < last) {
        total = load_fresh(partial_ + first * a_.pitch + j);
#pragma unroll 8
        for (int64_t band = first + 1; band < last; ++band) total = combine(total, load_fresh(partial_ + band * a_.pitch + j));
      }
      places_[thread_index()] = total;
      sync_block();
      if (part == 0 && j < plan_.k) {
        for (int64_t p = 1; p * share < a_.bands; ++p) total = combine(total, places_[p * across + j - run]);
        body(j, total);
      }
      sync_block();
    }
  }

  // K of the group's rows anew from f and g, and its column sums.
  MHC_FN void make_again() {
    each_own([&](int64_t j) MHC_INLINE { across_[j] = load_fresh(g_ + j); });
    each_group(0.0f, [&](int64_t i, int rows) MHC_INLINE {
      float shift[kGroup], eps_shift[kGroup];
#pragma unroll
      for (int r = 0; r < kGroup; ++r) {
        const float f = r < rows ? load_fresh(f_ + i + r) : 0.0f;
        shift[r] = r < rows ? load_fresh(shift_ + i + r) + f : 0.0f;
        eps_shift[r] = logf(plan_.start_eps) + f;
      }
      each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t j, const float(&l)[kGroup]) MHC_INLINE {
        float sum = gathered_[j];
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          if (r >= rows) continue;
          const float value = entry_of(l[r], across_[j], shift[r], eps_shift[r]);
          store1(row_of_k(i + r) + j, value);
          sum = sum + value;
        }
        gathered_[j] = sum;
      });
    });
  }
  MHC_FN float entry_of(float logit, float g, float shift, float eps_shift) const {
    float value = exp(F{(logit + g) + shift}).v;
    if (plan_.start_eps > 0.0f) value = value + exp(F{g + eps_shift}).v;
    return value;
  }

  const Arguments& a_;
  const LargePlan& plan_;
  Team& team_;
  int64_t matrix_ = 0;
  float *shift_, *f_, *g_, *u_, *v_, *partial_, *flags_;
  Tape tape_;
  float *d_u_ = nullptr, *d_v_ = nullptr, *row_sums_ = nullptr;
  float *across_, *gathered_, *group_;  // by column: v or g, a band's sums, a group's rows
  float* kept_;                         // K, where it has a place of its own
  RowSums sums_;
  RowMaxima maxima_;
  float *places_, *of_row_;
  int turn_ = 0;

 private:
  MHC_FN void begin() {
    each_shared_out([&](int64_t i) MHC_INLINE {
      store1(f_ + i, 0.0f);
      store1(g_ + i, 0.0f);
      store1(u_ + i, 1.0f);
      store1(v_ + i, 1.0f);
    });
    for (int t = plan_.first + thread_index(); t <= plan_.last && team_.rank() == 0; t += block_threads()) store1(far_flag(t), 0.0f);
    start_rows();
    team_.meet();
    if (plan_.columns_in_logarithms(plan_.first)) start_columns();
  }

  // shift: minus the maximum of a row, or its logsumexp.
  MHC_FN void start_rows() {
    for (int64_t band = team_.rank(); band < a_.bands; band += team_.blocks()) {
      for (int64_t i = band * a_.band; i < band_end(band); i += kGroup) {
        const int rows = static_cast<int>(band_end(band) - i < kGroup ? band_end(band) - i : kGroup);
        float most[kGroup] = {-kHuge, -kHuge, -kHuge, -kHuge}, total[kGroup] = {};
        if (plan_.start != MHC_SINKHORN_EXP) {
          each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
            for (int r = 0; r < kGroup; ++r) most[r] = Largest{}(most[r], l[r]);
          });
          maxima_.put(most);
#pragma unroll
          for (int r = 0; r < kGroup; ++r) most[r] = maxima_.total(r);
        }
        if (plan_.softmax) {
          each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
            for (int r = 0; r < kGroup; ++r) total[r] = total[r] + exp(F{l[r] - most[r]}).v;
          });
          sums_.put(total);
        }
        if (thread_index() >= rows) continue;
        const int r = thread_index();
        double shift = plan_.start == MHC_SINKHORN_EXP ? 0.0 : -static_cast<double>(maxima_.total(r));
        if (plan_.softmax) shift -= ::log(static_cast<double>(sums_.total(r)));
        store1(shift_ + i + r, static_cast<float>(shift));
      }
    }
  }

  // g: minus the maximum of a column, as what columns in logarithms start from.
  MHC_FN void start_columns() {
    each_group(-kHuge, [&](int64_t i, int rows) MHC_INLINE {
      float shift[kGroup];
#pragma unroll
      for (int r = 0; r < kGroup; ++r) shift[r] = r < rows ? load_fresh(shift_ + i + r) : 0.0f;
      each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t j, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          if (r < rows) gathered_[j] = Largest{}(gathered_[j], l[r] + shift[r]);
        }
      });
    });
    each_total(Largest{}, [&](int64_t j, float most) MHC_INLINE { store1(g_ + j, -most); });
    team_.meet();
  }

  // The logarithms of u and v go to f and g.
  MHC_FN void fold() {
    each_shared_out([&](int64_t i) MHC_INLINE {
      store1(f_ + i, load_fresh(f_ + i) + logf(load_fresh(u_ + i)));
      store1(g_ + i, load_fresh(g_ + i) + logf(load_fresh(v_ + i)));
      store1(u_ + i, 1.0f);
      store1(v_ + i, 1.0f);
    });
    team_.meet();
  }

  // K anew from f and g, with the rows' half-step in iterations that have one. The largest term of each row is taken out
  // of the exponent, so that the row's sum neither overflows nor vanishes.
  MHC_FN void fresh_pass(int t) {
    const float log_eps = logf(plan_.start_eps);
    each_own([&](int64_t j) MHC_INLINE { across_[j] = load_fresh(g_ + j); });
    each_group(0.0f, [&](int64_t i, int rows) MHC_INLINE {
      float shift[kGroup], most[kGroup] = {-kHuge, -kHuge, -kHuge, -kHuge}, total[kGroup] = {};
#pragma unroll
      for (int r = 0; r < kGroup; ++r) shift[r] = r < rows ? load_fresh(shift_ + i + r) : 0.0f;
      each_column_of(rows, [&](int r) MHC_INLINE { return logits(i + r); }, [&](int64_t j, const float(&l)[kGroup]) MHC_INLINE {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          const float term = l[r] + shift[r];
          most[r] = Largest{}(most[r], (term > log_eps || term != term ? term : log_eps) + across_[j]);
          group_[r * a_.pitch + j] = l[r];
        }
      });
      maxima_.put(most);
#pragma unroll
      for (int r = 0; r < kGroup; ++r) most[r] = maxima_.total(r);
      each_own([&](int64_t j) MHC_INLINE {
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          const float value = entry_of(group_[r * a_.pitch + j], across_[j], shift[r] - most[r], log_eps - most[r]);
          group_[r * a_.pitch + j] = value;
          total[r] = total[r] + value;
        }
      });
      sums_.put(total);
      settle_rows(rows, [&](int r) MHC_INLINE {
        const auto step = plan_.fresh_row(sums_.total(r), maxima_.total(r), load_fresh(f_ + i + r), plan_.has_rows(t));
        store1(f_ + i + r, step.f);
        if (tape_.base) store1(tape_.kept_u(t) + i + r, static_cast<float>(step.kept));
        return static_cast<float>(step.scale);
      });
      each_own([&](int64_t j) MHC_INLINE {
        float sum = gathered_[j];
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          if (r >= rows) continue;
          const float value = group_[r * a_.pitch + j] * of_row(r);
          store1(row_of_k(i + r) + j, value);
          sum = sum + value;
        }
        gathered_[j] = sum;
      });
    });
  }

  // u from K and v, and the columns' sums of K times it.
  MHC_FN void factor_pass(int t) {
    each_own([&](int64_t j) MHC_INLINE { across_[j] = load_fresh(v_ + j); });
    each_group(0.0f, [&](int64_t i, int rows) MHC_INLINE {
      float total[kGroup] = {};
      each_column_of(rows, [&](int r) MHC_INLINE { return row_of_k(i + r); }, [&](int64_t j, const float(&k)[kGroup]) MHC_INLINE {
        const float v = across_[j];
#pragma unroll
        for (int r = 0; r < kGroup; ++r) {
          total[r] = fmaf(k[r], v, total[r]);
          group_[r * a_.pitch + j] = k[r];
        }
      });
      sums_.put(total);
      settle_rows(rows, [&](int r) MHC_INLINE {
        float kept;
        const float u = plan_.row_factor(sums_.total(r), load_fresh(u_ + i + r), &kept);
        store1(u_ + i + r, u);
        if (tape_.base) store1(tape_.kept_u(t) + i + r, kept);
        watch(t, u);
        return u;
      });
      add_group();
    });
  }
  // K is made again after an iteration whose u or v is far from 1.
  MHC_FN void watch(int t, float factor) {
    if (factor > LargePlan::kFar || factor < 1.0f / LargePlan::kFar) store1(far_flag(t), 1.0f);
  }

  MHC_FN void columns(int t) {
    if (plan_.columns_in_logarithms(t)) {
      each_total(Adding{}, [&](int64_t j, float total) MHC_INLINE {
        float kept;
        store1(g_ + j, plan_.column_logarithm(total, load_fresh(g_ + j), &kept));
        if (tape_.base) store1(tape_.kept_v(t) + j, kept);
      });
    } else {
      if (plan_.columns_may_vanish(t)) rescue_columns();
      each_total(Adding{}, [&](int64_t j, float total) MHC_INLINE {
        F kept;
        const float v = plan_.column_factor(F{total}, F{load_fresh(v_ + j)}, &kept).v;
        store1(v_ + j, v);
        if (tape_.base) store1(tape_.kept_v(t) + j, kept.v);
        watch(t, v);
      });
    }
    team_.meet();
  }

  // K anew where a column's sum vanished, with g by each column's maximum, so that its sums lie in [1, k].
  MHC_FN void rescue_columns() {
    each_total(Adding{}, [&](int64_t j, float total) MHC_INLINE { store1(v_ + j, total); });
    team_.meet();
    float least[kGroup] = {-kHuge, -kHuge, -kHuge, -kHuge};
    each_own([&](int64_t j) MHC_INLINE { least[0] = Largest{}(least[0], -load_fresh(v_ + j)); });
    maxima_.put(least);
    // A block that is ahead may have written factors by now, which are above 1/k as well.
    if (!(-maxima_.total(0) < 1e-30f)) return;
    each_shared_out([&](int64_t i) MHC_INLINE { store1(shift_ + i, load_fresh(f_ + i)); });
    team_.meet();
    start_columns();
    each_shared_out([&](int64_t i) MHC_INLINE { store1(shift_ + i, 0.0f); });
    team_.meet();
    make_again();
  }

  MHC_FN void record(int t, bool fresh) {
    const float* u = fresh ? f_ : u_;
    each_shared_out([&](int64_t i) MHC_INLINE {
      store1(tape_.u(t) + i, load_fresh(u + i));
      store1(tape_.v(t) + i, load_fresh(v_ + i));
      store1(tape_.g(t) + i, load_fresh(g_ + i));
    });
    team_.meet();
  }

 protected:
  static constexpr float kHuge = 3.402823466e38f;
};

}  // namespace mhc::cuda::large
