// SPDX-License-Identifier: Apache-2.0
#include "cpu/sinkhorn_large.h"

#include <cfloat>

#include "lanes/sinkhorn_large.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int64_t kBlockRows = 32, kGroup = 4;
// Largest matrix whose K the workspace holds where no output can. Rows of a larger one are made at each use.
constexpr int64_t kKeptSize = 1024;

int64_t padded(int64_t k) { return (k + 15) / 16 * 16; }
int64_t blocks_of(int64_t k) { return (k + kBlockRows - 1) / kBlockRows; }

// R sums over a row times x.
template <int R>
void dots(const float* const* rows, const float* x, int64_t k, float* out) {
  F even[R], odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = zero();
  int64_t j = 0;
  for (; j + 2 * W <= k; j += 2 * W) {
    F x0 = load(x + j), x1 = load(x + j + W);
    for (int r = 0; r < R; ++r) {
      even[r] = fma(load(rows[r] + j), x0, even[r]);
      odd[r] = fma(load(rows[r] + j + W), x1, odd[r]);
    }
  }
  for (; j < k; j += W) {
    for (int r = 0; r < R; ++r) even[r] = fma(load_upto(rows[r] + j, k - j), load(x + j), even[r]);
  }
  for (int r = 0; r < R; ++r) out[r] = sum(even[r] + odd[r]);
}

// y += sum of factor[r] * row r
template <int R>
void add_rows(const float* const* rows, const float* factor, int64_t k, float* y) {
  for (int64_t j = 0; j < k; j += W) {
    F total = load(y + j);
    for (int r = 0; r < R; ++r) total = fma(set(factor[r]), load_upto(rows[r] + j, k - j), total);
    store(y + j, total);
  }
}

struct Range {
  F most = zero(), least = set(1.0f);
  void see(F x) {
    most = max(most, x);
    least = min(least, x);
  }
  bool far() const { return max_of(most) > LargePlan::kFar || max_of(zero() - least) > -1.0f / LargePlan::kFar; }
};

struct Plan : LargePlan {
  int64_t pitch, blocks;

  Plan(const mhc_config& config, int64_t size) : LargePlan(config, size), pitch(padded(size)), blocks(blocks_of(size)) {}
  int64_t block_end(int64_t block) const { return std::min(k, (block + 1) * kBlockRows); }
};

// What one iteration leaves for the way back.
struct Tape {
  float* base = nullptr;
  int64_t pitch = 0;
  int first = 0;

  float* at(int t, int row) const { return base + ((t - first) * 5 + row) * pitch; }
  float* u(int t) const { return at(t, 0); }  // f where K is made in iteration t
  float* v(int t) const { return at(t, 1); }
  float* kept_u(int t) const { return at(t, 2); }  // a, what the rows' half-step sends back, once that is known
  float* kept_v(int t) const { return at(t, 3); }  // b, of the columns
  float* g(int t) const { return at(t, 4); }
};

class Large {
 public:
  Large(const LargeMatrix& matrix, const View& logits, Direction direction)
      : plan(matrix.config, matrix.size), matrix_(matrix), logits_(logits) {
    auto take = [&](int64_t floats) -> float* {
      float* taken = matrix.state ? reinterpret_cast<float*>(matrix.state) + floats_ : nullptr;
      floats_ += floats;
      return taken;
    };
    const int64_t pitch = plan.pitch;
    shift_ = take(pitch);
    f_ = take(pitch);
    g_ = take(pitch);
    u_ = take(pitch);
    v_ = take(pitch);
    partial_ = take(plan.blocks * pitch);
    if (direction != Direction::Forward) {
      tape_.base = take(5 * pitch * plan.count());
      tape_.pitch = pitch;
      tape_.first = plan.first;
      d_u_ = take(pitch);
      d_v_ = take(pitch);
      row_sums_ = take(pitch);
      ones_ = take(pitch);
      fresh_ = take(padded(plan.count()));
      if (direction == Direction::BackwardAdding && plan.k <= kKeptSize) kept_ = take(plan.k * pitch);
    }
  }
  int64_t floats() const { return floats_; }

  void forward(const View& out);
  void backward(const View& d_out, const View& d_logits, bool accumulate);

 private:
  const float* logits(int64_t i) const { return logits_.at<float>(i); }
  // Where row i of K is, or is to be.
  float* place(int64_t i, float* spare) const {
    if (k_.given) return k_.at<float>(i);
    return kept_ ? kept_ + i * plan.pitch : spare;
  }
  bool stored() const { return k_.given || kept_; }
  float* spare(int worker) const { return reinterpret_cast<float*>(matrix_.scratch + worker * matrix_.scratch_step); }
  float* clean_partial(int64_t block) const {
    float* partial = partial_ + block * plan.pitch;
    for (int64_t j = 0; j < plan.pitch; j += W) store(partial + j, zero());
    return partial;
  }
  F partial_sum(int64_t j) const {
    F total = load(partial_ + j);
    for (int64_t block = 1; block < plan.blocks; ++block) total = total + load(partial_ + block * plan.pitch + j);
    return total;
  }
  void fill(float* x, float value) const {
    for (int64_t j = 0; j < plan.pitch; j += W) store(x + j, set(value));
  }
  void copy(const float* from, float* to) const {
    for (int64_t j = 0; j < plan.pitch; j += W) store(to + j, load(from + j));
  }

  template <class Body>
  void each_block(const Body& body) const {
    matrix_.team.each(plan.blocks, [&](int worker, int64_t block) { body(worker, block); });
  }
  // body(Streams<R>, rows of K, first row) over the block's rows in groups. K has to be there or made on the way.
  template <class Body>
  void each_group(int worker, int64_t block, const Body& body) const {
    const int64_t end = plan.block_end(block);
    int64_t i = block * kBlockRows;
    const float* rows[kGroup];
    for (; i + kGroup <= end; i += kGroup) {
      for (int r = 0; r < kGroup; ++r) rows[r] = row_of_k(i + r, spare(worker) + r * plan.pitch);
      body(std::integral_constant<int, kGroup>{}, rows, i);
    }
    for (; i < end; ++i) {
      rows[0] = row_of_k(i, spare(worker));
      body(std::integral_constant<int, 1>{}, rows, i);
    }
  }
  const float* row_of_k(int64_t i, float* spare_row) const {
    float* row = place(i, spare_row);
    if (!stored()) make_row(i, row);
    return row;
  }

  void start_rows();
  void start_columns();
  void make_row(int64_t i, float* row) const;
  void make_all() const;
  void log_pass(int t);
  void linear_pass(int t);
  void rescue_columns(int t);
  void columns(int t);
  void alternate();
  void record(int t);

  void enter(int t);
  void first_pass_back(const View& d_out);
  void pass_back(int t);
  void apply(int from, int to, const View& d_out, const View& d_logits, bool accumulate);
  void finish_back(const View& d_logits);
  const float* u_at(int t) const { return fresh_[t - plan.first] != 0.0f ? ones_ : tape_.u(t); }
  const float* v_before(int t) const { return fresh_[t - plan.first] != 0.0f ? ones_ : tape_.v(t - 1); }

  const Plan plan;
  const LargeMatrix& matrix_;
  const View logits_;
  View k_;                  // K, where there is a tensor to hold it
  float* kept_ = nullptr;   // K, in the workspace
  float *shift_, *f_, *g_, *u_, *v_, *partial_;
  Tape tape_;
  float *d_u_ = nullptr, *d_v_ = nullptr, *row_sums_ = nullptr, *ones_ = nullptr, *fresh_ = nullptr;
  int64_t floats_ = 0;
};

// shift: minus the maximum of a row, or its logsumexp.
void Large::start_rows() {
  fill(shift_, 0.0f);
  if (plan.start == MHC_SINKHORN_EXP) return;
  each_block([&](int, int64_t block) {
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      const float* row = logits(i);
      float most = -FLT_MAX;
      int64_t j = 0;
      F most_w = set(most);
      for (; j + W <= plan.k; j += W) most_w = max(most_w, load(row + j));
      most = max_of(most_w);
      for (; j < plan.k; ++j) most = std::max(most, load1(row + j));
      double shift = -static_cast<double>(most);
      if (plan.softmax) {
        F total = zero();
        for (j = 0; j + W <= plan.k; j += W) total = total + exp(load(row + j) - set(most));
        double rest = 0.0;
        if (j < plan.k) {
          alignas(64) float tail[W];
          store(tail, exp(load_upto(row + j, plan.k - j) - set(most)));
          for (int64_t l = 0; l < plan.k - j; ++l) rest += tail[l];
        }
        shift -= std::log(sum(total) + rest);
      }
      shift_[i] = static_cast<float>(shift);
    }
  });
}

// g: minus the maximum of a column, as what columns(0) starts from.
void Large::start_columns() {
  each_block([&](int, int64_t block) {
    float* partial = partial_ + block * plan.pitch;
    for (int64_t j = 0; j < plan.pitch; j += W) store(partial + j, set(-FLT_MAX));
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      const float* row = logits(i);
      for (int64_t j = 0; j < plan.k; j += W) {
        store(partial + j, max(load(partial + j), load_upto(row + j, plan.k - j) + set(shift_[i])));
      }
    }
  });
  for (int64_t j = 0; j < plan.pitch; j += W) {
    F most = load(partial_ + j);
    for (int64_t block = 1; block < plan.blocks; ++block) most = max(most, load(partial_ + block * plan.pitch + j));
    store(g_ + j, zero() - most);
  }
}

void Large::make_row(int64_t i, float* row) const {
  const float* l = logits(i);
  const F shift = set(shift_[i] + f_[i]), eps_shift = set(std::log(plan.start_eps) + f_[i]);
  for (int64_t j = 0; j < plan.k; j += W) {
    F g = load(g_ + j);
    F value = exp((load_upto(l + j, plan.k - j) + g) + shift);
    if (plan.start_eps > 0.0f) value = value + exp(g + eps_shift);
    store_upto(row + j, value, plan.k - j);
  }
}

void Large::make_all() const {
  each_block([&](int, int64_t block) {
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) make_row(i, place(i, nullptr));
  });
}

// K anew from f and g, with the rows' half-step in iterations that have one. The largest term of each row is taken out
// of the exponent, so that the row's sum neither overflows nor vanishes.
void Large::log_pass(int t) {
  const bool normalise = plan.has_rows(t);
  const float log_eps = std::log(plan.start_eps);
  each_block([&](int worker, int64_t block) {
    float* partial = clean_partial(block);
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      const float* l = logits(i);
      float* row = place(i, spare(worker));
      const F shift = set(shift_[i]), floor = set(log_eps);
      F most_w = set(-FLT_MAX);
      for (int64_t j = 0; j < plan.k; j += W) {
        F term = load_upto(l + j, plan.k - j) + shift;
        term = max(floor, term) + load(g_ + j);
        if (plan.k - j < W) {  // lanes behind the end are no entries
          alignas(64) float lanes[W];
          store(lanes, term);
          for (int64_t lane = plan.k - j; lane < W; ++lane) lanes[lane] = -FLT_MAX;
          term = load(lanes);
        }
        most_w = max(most_w, term);
      }
      const float most = max_of(most_w);
      const F down = set(shift_[i] - most), eps_down = set(log_eps - most);
      F total = zero();
      for (int64_t j = 0; j < plan.k; j += W) {
        const int64_t left = plan.k - j;
        F g = load(g_ + j);
        F value = exp((load_upto(l + j, left) + g) + down);
        if (plan.start_eps > 0.0f) value = value + exp(g + eps_down);
        store_upto(row + j, value, left);
        total = total + (left >= W ? value : load_upto(row + j, left));
      }
      const Plan::FreshRow step = plan.fresh_row(sum(total), most, f_[i], normalise);
      f_[i] = step.f;
      if (tape_.base) tape_.kept_u(t)[i] = static_cast<float>(step.kept);
      const F scale_w = set(static_cast<float>(step.scale));
      for (int64_t j = 0; j < plan.k; j += W) {
        F value = load_upto(row + j, plan.k - j) * scale_w;
        store_upto(row + j, value, plan.k - j);
        store(partial + j, load(partial + j) + value);
      }
    }
  });
}

// u from K and v, and the columns' sums of K times it.
void Large::linear_pass(int t) {
  const bool columns_follow = plan.has_columns(t);
  each_block([&](int worker, int64_t block) {
    float* partial = clean_partial(block);
    each_group(worker, block, [&](auto group, const float* const* rows, int64_t i) {
      float sums[kGroup];
      dots<group>(rows, v_, plan.k, sums);
      for (int r = 0; r < group; ++r) {
        float kept;
        u_[i + r] = plan.row_factor(sums[r], u_[i + r], &kept);
        if (tape_.base) tape_.kept_u(t)[i + r] = kept;
      }
      if (columns_follow) add_rows<group>(rows, u_ + i, plan.k, partial);
    });
  });
}

// Rows came first, and a column far below the others has a sum that vanishes in a float: K anew, with g by each column's
// maximum, so that its sums lie in [1, k].
void Large::rescue_columns(int t) {
  if (!plan.columns_may_vanish(t)) return;
  bool vanishes = false;
  for (int64_t j = 0; j < plan.pitch; j += W) store(v_ + j, partial_sum(j));
  for (int64_t j = 0; j < plan.k; ++j) vanishes |= v_[j] < 1e-30f;
  fill(v_, 1.0f);
  if (!vanishes) return;
  copy(f_, shift_);
  start_columns();
  fill(shift_, 0.0f);
  each_block([&](int worker, int64_t block) {
    float* partial = clean_partial(block);
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      float* row = place(i, spare(worker));
      make_row(i, row);
      for (int64_t j = 0; j < plan.k; j += W) store(partial + j, load(partial + j) + load_upto(row + j, plan.k - j));
    }
  });
}

void Large::columns(int t) {
  if (plan.columns_in_logarithms(t)) {
    for (int64_t j = 0; j < plan.pitch; j += W) store(v_ + j, partial_sum(j));
    for (int64_t j = 0; j < plan.k; ++j) {
      float kept;
      g_[j] = plan.column_logarithm(v_[j], g_[j], &kept);
      if (tape_.base) tape_.kept_v(t)[j] = kept;
    }
    return fill(v_, 1.0f);
  }
  rescue_columns(t);
  for (int64_t j = 0; j < plan.pitch; j += W) {
    F kept;
    store(v_ + j, plan.column_factor(partial_sum(j), load(v_ + j), &kept));
    if (tape_.base) store(tape_.kept_v(t) + j, kept);
  }
  for (int64_t j = plan.k; j < plan.pitch; ++j) v_[j] = 0.0f;
}

void Large::record(int t) {
  copy(u_, tape_.u(t));
  copy(v_, tape_.v(t));
  copy(g_, tape_.g(t));
}

void Large::alternate() {
  fill(f_, 0.0f);
  fill(g_, 0.0f);
  fill(u_, 1.0f);
  fill(v_, 1.0f);
  start_rows();
  if (plan.columns_in_logarithms(plan.first)) start_columns();
  bool fresh = true;
  for (int t = plan.first; t <= plan.last; ++t) {
    if (fresh) {
      for (int64_t i = 0; i < plan.k && t > plan.first; ++i) {
        f_[i] += std::log(u_[i]);
        g_[i] += std::log(v_[i]);
      }
      fill(u_, 1.0f);
      fill(v_, 1.0f);
      log_pass(t);
    } else {
      linear_pass(t);
    }
    if (tape_.base) fresh_[t - plan.first] = fresh ? 1.0f : 0.0f;
    const bool was_fresh = fresh;
    fresh = plan.columns_in_logarithms(t);
    if (plan.has_columns(t)) columns(t);
    if (tape_.base) {
      record(t);
      if (was_fresh) copy(f_, tape_.u(t));
    }
    Range range;
    for (int64_t j = 0; j < plan.k; j += W) {
      if (plan.k - j < W) {  // no lanes behind the end
        for (; j < plan.k; ++j) {
          range.see(set(u_[j]));
          range.see(set(v_[j]));
        }
        break;
      }
      range.see(load(u_ + j));
      range.see(load(v_ + j));
    }
    fresh = fresh || range.far();
  }
}

void Large::forward(const View& out) {
  k_ = out;
  alternate();
  each_block([&](int, int64_t block) {
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      float* row = out.at<float>(i);
      const F u = set(u_[i]);
      for (int64_t j = 0; j < plan.k; j += W) {
        store_upto(row + j, load_upto(row + j, plan.k - j) * u * load(v_ + j), plan.k - j);
      }
    }
  });
}

// Makes the K in which iteration t took place.
void Large::enter(int t) {
  while (fresh_[t - plan.first] == 0.0f) --t;
  copy(tape_.u(t), f_);
  copy(tape_.g(t), g_);
  if (stored()) make_all();
}

// From d_out to the gradients of log u and log v at the end, past a last half-step of rows if it was one.
void Large::first_pass_back(const View& d_out) {
  const int t = plan.last;
  const bool rows_last = !plan.has_columns(t);
  const float *u = u_at(t), *v = tape_.v(t);
  each_block([&](int worker, int64_t block) {
    float* partial = clean_partial(block);
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      const float *row = row_of_k(i, spare(worker)), *d = d_out.at<float>(i);
      F total = zero();
      for (int64_t j = 0; j < plan.k; j += W) {
        total = fma(load_upto(row + j, plan.k - j) * load(v + j), load_upto(d + j, plan.k - j), total);
      }
      float gradient = sum(total) * u[i], a = 0.0f;
      if (rows_last) {
        float kept = plan.eps_mode == MHC_EPS_NONE ? 0.0f : tape_.kept_u(t)[i];
        a = plan.pull(gradient, kept) * u[i];
        tape_.kept_u(t)[i] = a;
        gradient = gradient * kept;
      }
      d_u_[i] = gradient;
      for (int64_t j = 0; j < plan.k; j += W) {
        F inner = fma(load_upto(d + j, plan.k - j), set(u[i]), set(-a));
        store(partial + j, fma(load_upto(row + j, plan.k - j), inner, load(partial + j)));
      }
    }
  });
  for (int64_t j = 0; j < plan.pitch; j += W) store(d_v_ + j, load(v + j) * partial_sum(j));
  if (rows_last) fill(tape_.kept_v(t), 0.0f);
}

// Through iteration t: its columns, then its rows.
void Large::pass_back(int t) {
  float *a = tape_.kept_u(t), *b = tape_.kept_v(t);
  const float *u = u_at(t), *v = tape_.v(t);
  const bool any_eps = plan.eps_mode != MHC_EPS_NONE;
  for (int64_t j = 0; j < plan.k; ++j) {
    float kept = any_eps ? b[j] : 0.0f;
    b[j] = plan.pull(d_v_[j], kept) * v[j];
    d_v_[j] = d_v_[j] * kept;
  }
  for (int64_t j = plan.k; j < plan.pitch; ++j) b[j] = 0.0f;
  if (!plan.has_rows(t)) return fill(a, 0.0f);
  each_block([&](int worker, int64_t block) {
    float* partial = clean_partial(block);
    each_group(worker, block, [&](auto group, const float* const* rows, int64_t i) {
      float sums[kGroup];
      dots<group>(rows, b, plan.k, sums);
      for (int r = 0; r < group; ++r) {
        float kept = any_eps ? a[i + r] : 0.0f, gradient = d_u_[i + r] - u[i + r] * sums[r];
        a[i + r] = plan.pull(gradient, kept) * u[i + r];
        d_u_[i + r] = gradient * kept;
      }
      add_rows<group>(rows, a + i, plan.k, partial);
    });
  });
  const float* before = v_before(t);
  for (int64_t j = 0; j < plan.pitch; j += W) {
    store(d_v_ + j, load(d_v_ + j) - load(before + j) * partial_sum(j));
  }
}

// Adds to d_logits what iterations from ... to, which share one K, send to its logarithm; at the end of all also what
// d_out sends there directly.
void Large::apply(int from, int to, const View& d_out, const View& d_logits, bool accumulate) {
  const bool direct = to == plan.last, add = accumulate || !direct, sums_wanted = plan.start != MHC_SINKHORN_EXP;
  const int64_t step = tape_.at(1, 0) - tape_.at(0, 0);
  const float *u_last = u_at(plan.last), *v_last = tape_.v(plan.last), *a_from = tape_.kept_u(from);
  each_block([&](int worker, int64_t block) {
    each_group(worker, block, [&](auto group, const float* const* rows, int64_t i) {
      F row_sum[group];
      for (int r = 0; r < group; ++r) row_sum[r] = zero();
      for (int64_t j = 0; j < plan.k; j += W) {
        const int64_t left = plan.k - j;
        F gathered[group];
        F b = load(tape_.kept_v(from) + j);
        for (int r = 0; r < group; ++r) gathered[r] = set(a_from[i + r]) + b;
        const float *u = tape_.u(from) + i, *v = tape_.v(from) + j, *a = a_from + i, *b_row = tape_.kept_v(from) + j;
        for (int t = from + 1; t <= to; ++t) {
          u += step;
          a += step;
          b_row += step;
          F v_before = load(v), b_t = load(b_row);
          v += step;
          for (int r = 0; r < group; ++r) gathered[r] = fma(set(a[r]), v_before, fma(set(u[r]), b_t, gathered[r]));
        }
        for (int r = 0; r < group; ++r) {
          F d = zero() - gathered[r];
          if (direct) d = fma(load_upto(d_out.at<float>(i + r) + j, left), set(u_last[i + r]) * load(v_last + j), d);
          d = d * load_upto(rows[r] + j, left);
          if (plan.start_eps > 0.0f) {
            F p = exp(load_upto(logits(i + r) + j, left) + set(shift_[i + r]));
            d = d * (p / (p + set(plan.start_eps)));
          }
          if (sums_wanted) row_sum[r] = row_sum[r] + d;
          float* to_row = d_logits.at<float>(i + r) + j;
          if (add) d = load_upto(to_row, left) + d;
          store_upto(to_row, d, left);
        }
      }
      for (int r = 0; r < group; ++r) row_sums_[i + r] += sum(row_sum[r]);
    });
  });
}

// Through what the start did to a row as a whole.
void Large::finish_back(const View& d_logits) {
  if (plan.start == MHC_SINKHORN_EXP) return;
  each_block([&](int, int64_t block) {
    for (int64_t i = block * kBlockRows; i < plan.block_end(block); ++i) {
      const float* l = logits(i);
      float* d = d_logits.at<float>(i);
      const F shift = set(shift_[i]), whole = set(row_sums_[i]);
      F count = zero();  // of entries that are the maximum, which share in its gradient
      for (int64_t j = 0; j < plan.k && !plan.softmax; j += W) {
        F below = plan.k - j < W ? load_upto(l + j, plan.k - j) : load(l + j);
        alignas(64) float lanes[W];
        store(lanes, select_less(below + shift, zero(), zero(), set(1.0f)));
        for (int64_t lane = std::max<int64_t>(0, plan.k - j); lane < W; ++lane) lanes[lane] = 0.0f;
        count = count + load(lanes);
      }
      const F share = set(row_sums_[i] / sum(count));
      for (int64_t j = 0; j < plan.k; j += W) {
        F x = load_upto(l + j, plan.k - j) + shift;
        F away = plan.softmax ? exp(x) * whole : select_less(x, zero(), zero(), share);
        store_upto(d + j, load_upto(d + j, plan.k - j) - away, plan.k - j);
      }
    }
  });
}

void Large::backward(const View& d_out, const View& d_logits, bool accumulate) {
  if (!accumulate) k_ = d_logits;  // until the gradients overwrite it
  fill(ones_, 1.0f);
  fill(row_sums_, 0.0f);
  alternate();
  first_pass_back(d_out);
  for (int t = plan.last, to = t; t >= plan.first; --t) {
    if (plan.has_columns(t)) pass_back(t);
    if (fresh_[t - plan.first] == 0.0f) continue;
    apply(t, to, d_out, d_logits, accumulate);
    k_ = View{};
    to = t - 1;
    if (t > plan.first) enter(to);
  }
  finish_back(d_logits);
}

}  // namespace

size_t sinkhorn_large_state(const mhc_config& config, int64_t size, Direction direction) {
  LargeMatrix nothing{config, size, {nullptr, 0}, nullptr, nullptr, 0};
  return static_cast<size_t>(Large(nothing, View{}, direction).floats()) * sizeof(float);
}

size_t sinkhorn_large_scratch(int64_t size) { return static_cast<size_t>(kGroup * padded(size)) * sizeof(float); }

void sinkhorn_large(const LargeMatrix& matrix, const View& logits, const View& out) {
  Large(matrix, logits, Direction::Forward).forward(out);
}

void sinkhorn_large_backward(const LargeMatrix& matrix, const View& logits, const View& d_out, const View& d_logits,
                             bool accumulate) {
  Direction direction = accumulate ? Direction::BackwardAdding : Direction::Backward;
  Large(matrix, logits, direction).backward(d_out, d_logits, accumulate);
}

}  // namespace mhc::cpu::MHC_TIER
