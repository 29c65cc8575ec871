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

// The most channels that a tile takes at a time: kOutputs rows of the projection and kTokens rows of x stay in the first-level cache.
constexpr int64_t kProjectChannels = 1024;

inline int64_t whole_vectors(int64_t channels) { return (channels + W - 1) / W * W; }
// Channels of a chunk: as many in each, or nearly.
inline int64_t chunk_of(int64_t width) {
  int64_t chunks = (width + kProjectChannels - 1) / kProjectChannels;
  return whole_vectors((width + chunks - 1) / chunks);
}

// A piece of some rows of the projection: vectors of W channels, output o and vector v at o * output_step + v * vector_step.
struct Weights {
  const float* data;
  int64_t output_step, vector_step;
};

// The projection [m][streams * width] that a pass multiplies by: rows step apart, or packed in the order in which
// project() meets it, [stream][chunk of channels][group of outputs][vector][output], which reads memory in one run.
struct Projection {
  const float* data = nullptr;
  int64_t step = 0;
  bool packed = false;

  Weights at(int64_t width, int64_t m, int stream, int64_t c, int64_t o, int outputs, int64_t count) const {
    if (!packed) return {data + o * step + stream * width + c, step, W};
    return {data + (stream * whole_vectors(width) + c) * m + o * whole_vectors(count), W, outputs * W};
  }
};

// body(first, outputs) of each group of outputs that a tile takes.
template <class Body>
inline void for_outputs(int64_t m, const Body& body) {
  for (int64_t o = 0; o < m; o += kOutputs) body(o, static_cast<int>(std::min<int64_t>(kOutputs, m - o)));
}

// sums[t][o] += x[t] * projection[o] over count channels, in tiles of T tokens whose sums are in registers.
template <class X, int T, int O>
inline void project_tiles(int64_t tiles, const X* x, int64_t x_step, Weights weights, int64_t count, F* sums,
                          const float* ahead, int64_t ahead_step) {
  const int64_t output_step = weights.output_step, vector_step = weights.vector_step;
  for (; tiles > 0; --tiles, x += T * x_step, sums += T * O, ahead += ahead_step) {
    F sum[T][O];
    repeat<T>(T, [&](auto t) MHC_INLINE {
      repeat<O>(O, [&](auto o) MHC_INLINE { sum[t][o] = sums[t * O + o]; });
    });
    const float* vectors = weights.data;
    auto step = [&](int64_t c, auto load_at) MHC_INLINE {
      F value[T];
      repeat<T>(T, [&](auto t) MHC_INLINE { value[t] = load_at(x + t * x_step + c); });
      repeat<O>(O, [&](auto o) MHC_INLINE {
        const F weight = kept(load_at(vectors + o * output_step));
        repeat<T>(T, [&](auto t) MHC_INLINE { sum[t][o] = fma(value[t], weight, sum[t][o]); });
      });
      vectors += vector_step;
      prefetch(ahead + c);
    };
    int64_t c = 0;
    for (; c + W <= count; c += W) step(c, [](const auto* p) MHC_INLINE { return load(p); });
    if (c < count) step(c, [&](const auto* p) MHC_INLINE { return load(p, static_cast<int>(count - c)); });
    repeat<T>(T, [&](auto t) MHC_INLINE {
      repeat<O>(O, [&](auto o) MHC_INLINE { sums[t * O + o] = sum[t][o]; });
    });
  }
}

template <class X, int O>
inline void project_group(int outputs, int64_t tokens, const X* x, int64_t x_step, Weights weights, int64_t count,
                          F* sums, const float* ahead, int64_t ahead_step) {
  if (outputs == O) {
    const int64_t tiles = tokens / kTokens, whole = tiles * kTokens;
    project_tiles<X, kTokens, O>(tiles, x, x_step, weights, count, sums, ahead, ahead_step);
    project_tiles<X, 1, O>(tokens - whole, x + whole * x_step, x_step, weights, count, sums + whole * O, ahead, 0);
  } else if constexpr (O > 1) {
    project_group<X, O - 1>(outputs, tokens, x, x_step, weights, count, sums, ahead, ahead_step);
  }
}

// Sums as project() leaves them: a group's are together, [group of outputs][token][output].
inline int64_t sum_at(int64_t token, int64_t tokens, int64_t first, int outputs) { return first * tokens + token * outputs; }

// sums[m][tokens] of x . projection^T.
template <class X>
void project(const Rows<X>& rows, int64_t tokens, const Projection& projection, int64_t m, F* sums) {
  for (int64_t k = 0; k < tokens * m; ++k) sums[k] = zero();
  int64_t x_step = rows.streams * rows.pitch;
  const int64_t chunk = chunk_of(rows.width);
  for (int i = 0; i < rows.streams; ++i) {
    for (int64_t c = 0; c < rows.width; c += chunk) {
      int64_t count = std::min(chunk, rows.width - c);
      for_outputs(m, [&](int64_t o, int outputs) {
        const Weights weights = projection.at(rows.width, m, i, c, o, outputs, count);
        // Two groups ahead, a line a vector: the tokens of a large block bring one group while they work on another.
        const float* ahead = projection.packed ? weights.data + 2 * kOutputs * chunk : weights.data;
        project_group<X, kOutputs>(outputs, tokens, rows.at(0, i) + c, x_step, weights, count,
                                   sums + sum_at(0, tokens, o, outputs), ahead, chunk);
      });
    }
  }
}

}  // namespace mhc::cpu::MHC_TIER
