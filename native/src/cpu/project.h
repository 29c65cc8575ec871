// SPDX-License-Identifier: Apache-2.0
// The one scan of x: sums of squares and the product with the projection, for a block of tokens whose rows are at hand
// in scratch. Each sum is W partial sums over channels in order, added up at the end, whatever else is in the block.
#pragma once

#include "core/arguments.h"
#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

// Rows of tokens in scratch: token t, stream i at data + (t * streams + i) * pitch.
template <class X>
struct Rows {
  X* data;
  int streams;
  int64_t width, pitch;

  X* at(int64_t token, int stream) const { return data + (token * streams + stream) * pitch; }

  static int64_t pitch_of(int64_t width) { return (width + 31) / 32 * 32; }
};

// Lines of the next block's rows, asked for a few at a time while this block computes.
class Prefetch {
 public:
  Prefetch(const View& x, const View& f, int64_t first, int64_t last) : x_(x), f_(f), token_(first), last_(last) {
    start_row();
  }
  void lines(int count) {
    for (; count > 0 && token_ < last_; --count) {
      prefetch(row_ + offset_);
      offset_ += 64;
      if (offset_ >= row_bytes_) next_row();
    }
  }
  int64_t lines_left() const {
    int64_t rows = x_.shape[1] + (f_ ? 1 : 0);
    return (last_ - token_) * rows * (x_.shape[2] * static_cast<int64_t>(size_of(x_.type)) / 64 + 1);
  }

 private:
  void start_row() {
    offset_ = 0;
    if (token_ >= last_) return;
    bool of_x = stream_ < x_.shape[1];
    const View& view = of_x ? x_ : f_;
    int64_t size = static_cast<int64_t>(size_of(view.type));
    row_ = view.data + (token_ * view.stride[0] + (of_x ? stream_ * view.stride[1] : 0)) * size;
    row_bytes_ = x_.shape[2] * size;
  }
  void next_row() {
    if (++stream_ == x_.shape[1] + (f_ ? 1 : 0)) {
      stream_ = 0;
      ++token_;
    }
    start_row();
  }

  const View &x_, &f_;
  int64_t token_, last_;
  int64_t stream_ = 0, offset_ = 0, row_bytes_ = 0;
  const char* row_ = nullptr;
};

// sums[t][o] += x[t] * projection[o] over count channels, kept in registers.
template <class X, int T, int O>
inline void project_tile(const X* x, int64_t x_step, const float* projection, int64_t projection_step, int64_t count,
                         F* sums, int64_t sums_step) {
  F sum[T][O];
  for (int t = 0; t < T; ++t) {
    for (int o = 0; o < O; ++o) sum[t][o] = sums[t * sums_step + o];
  }
  auto step = [&](int64_t c, auto load_at) {
    F value[T];
    for (int t = 0; t < T; ++t) value[t] = load_at(x + t * x_step + c);
    for (int o = 0; o < O; ++o) {
      F weight = load_at(projection + o * projection_step + c);
      for (int t = 0; t < T; ++t) sum[t][o] = fma(value[t], weight, sum[t][o]);
    }
  };
  int64_t c = 0;
  for (; c + W <= count; c += W) step(c, [](const auto* p) { return load(p); });
  if (c < count) step(c, [&](const auto* p) { return load(p, static_cast<int>(count - c)); });
  for (int t = 0; t < T; ++t) {
    for (int o = 0; o < O; ++o) sums[t * sums_step + o] = sum[t][o];
  }
}

template <class X, int T, int O>
inline void project_tile_of(int outputs, const X* x, int64_t x_step, const float* projection, int64_t projection_step,
                            int64_t count, F* sums, int64_t sums_step) {
  if (outputs == O) {
    project_tile<X, T, O>(x, x_step, projection, projection_step, count, sums, sums_step);
  } else if constexpr (O > 1) {
    project_tile_of<X, T, O - 1>(outputs, x, x_step, projection, projection_step, count, sums, sums_step);
  }
}

// Channels a tile takes at a time: kOutputs rows of the projection and kTokens rows of x stay in the first-level cache.
constexpr int64_t kProjectChannels = 512;

// sums[tokens][m] of x . projection^T; projection is [m][streams * width] with rows projection_step apart.
template <class X>
void project(const Rows<X>& rows, int64_t tokens, const float* projection, int64_t projection_step, int64_t m, F* sums,
             Prefetch* next) {
  for (int64_t k = 0; k < tokens * m; ++k) sums[k] = zero();
  int64_t x_step = rows.streams * rows.pitch;
  int64_t tiles = rows.streams * ((rows.width + kProjectChannels - 1) / kProjectChannels) *
                  ((m + kOutputs - 1) / kOutputs) * ((tokens + kTokens - 1) / kTokens);
  int lines = next ? static_cast<int>(next->lines_left() / tiles + 1) : 0;
  for (int i = 0; i < rows.streams; ++i) {
    for (int64_t c = 0; c < rows.width; c += kProjectChannels) {
      int64_t count = std::min(kProjectChannels, rows.width - c);
      for (int64_t o = 0; o < m; o += kOutputs) {
        int outputs = static_cast<int>(std::min<int64_t>(kOutputs, m - o));
        const float* weights = projection + o * projection_step + i * rows.width + c;
        int64_t t = 0;
        for (; t + kTokens <= tokens; t += kTokens) {
          if (next) next->lines(lines);
          project_tile_of<X, kTokens, kOutputs>(outputs, rows.at(t, i) + c, x_step, weights, projection_step, count,
                                                sums + t * m + o, m);
        }
        for (; t < tokens; ++t) {
          project_tile_of<X, 1, kOutputs>(outputs, rows.at(t, i) + c, x_step, weights, projection_step, count,
                                          sums + t * m + o, m);
        }
      }
    }
  }
}

}  // namespace mhc::cpu::MHC_TIER
