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

  // An odd number of lines, so that the rows of a power-of-two width do not all fall into the same cache sets.
  static int64_t pitch_of(int64_t width) {
    constexpr int64_t kLine = 64 / sizeof(X);
    return ((width + kLine - 1) / kLine | 1) * kLine;
  }
};

// Pieces of the rows of a [T, n, C] or [T, C] tensor, one after the other.
struct RowCursor {
  int64_t token, last;
  int streams;
  int64_t width;
  int stream = 0;
  int64_t channel = 0;

  bool done() const { return token >= last; }
  int64_t pieces(int64_t size) const { return done() ? 0 : (last - token) * streams * ((width + size - 1) / size); }
  void advance(int64_t size) {
    channel += size;
    if (channel < width) return;
    channel = 0;
    if (++stream < streams) return;
    stream = 0;
    ++token;
  }
};

// Brings the next block's x and f to the second-level cache while this block computes, a few pieces a turn.
class Prefetch {
 public:
  // Tokens first ... last - 1; f need not be given.
  Prefetch(const View& x, const View& f, int64_t first, int64_t last)
      : x_(x), f_(f), streams_{first, last, static_cast<int>(x.shape[1]), x.shape[2]},
        layer_{first, f ? last : first, 1, x.shape[2]} {}

  // Divides the work over this many turns.
  void plan(int64_t turns) {
    of_streams_ = (streams_.pieces(kPiece) + turns - 1) / turns;
    of_layer_ = (layer_.pieces(kPiece) + turns - 1) / turns;
  }
  void turn() {
    for (int64_t k = 0; k < of_streams_ && !streams_.done(); ++k) {
      fetch(x_, streams_.token * x_.stride[0] + streams_.stream * x_.stride[1], streams_);
    }
    for (int64_t k = 0; k < of_layer_ && !layer_.done(); ++k) fetch(f_, layer_.token * f_.stride[0], layer_);
  }

 private:
  static constexpr int64_t kPiece = 128;  // channels

  static void fetch(const View& view, int64_t row, RowCursor& cursor) {
    int64_t size = static_cast<int64_t>(size_of(view.type));
    int64_t bytes = std::min(kPiece, cursor.width - cursor.channel) * size;
    const char* piece = view.data + (row + cursor.channel) * size;
    for (int64_t b = 0; b < bytes; b += 64) prefetch(piece + b);
    cursor.advance(kPiece);
  }

  const View &x_, &f_;
  RowCursor streams_, layer_;
  int64_t of_streams_ = 0, of_layer_ = 0;
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
  if (next) {
    next->plan(rows.streams * ((rows.width + kProjectChannels - 1) / kProjectChannels) *
               ((m + kOutputs - 1) / kOutputs) * ((tokens + kTokens - 1) / kTokens));
  }
  for (int i = 0; i < rows.streams; ++i) {
    for (int64_t c = 0; c < rows.width; c += kProjectChannels) {
      int64_t count = std::min(kProjectChannels, rows.width - c);
      for (int64_t o = 0; o < m; o += kOutputs) {
        int outputs = static_cast<int>(std::min<int64_t>(kOutputs, m - o));
        const float* weights = projection + o * projection_step + i * rows.width + c;
        int64_t t = 0;
        for (; t + kTokens <= tokens; t += kTokens) {
          if (next) next->turn();
          project_tile_of<X, kTokens, kOutputs>(outputs, rows.at(t, i) + c, x_step, weights, projection_step, count,
                                                sums + t * m + o, m);
        }
        if (next && t < tokens) next->turn();
        for (; t < tokens; ++t) {
          project_tile_of<X, 1, kOutputs>(outputs, rows.at(t, i) + c, x_step, weights, projection_step, count,
                                          sums + t * m + o, m);
        }
      }
    }
  }
}

}  // namespace mhc::cpu::MHC_TIER
