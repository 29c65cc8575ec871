// SPDX-License-Identifier: Apache-2.0
// A tile of 16 tokens and a unit of 256 channels of a residual of four streams, as eight warps hold it: a lane has two tokens
// and eight channels of all streams, in the very places where the tensor cores want their operands. What the kernels share
// that go from a tile to its part of the sums which the coefficients are made of, always in the same order.
#pragma once

#include "cuda/group.h"

namespace mhc::cuda::tile {

constexpr int kStreams = 4, kOutputs = 24, kValues = kOutputs + 1;  // 24 products and the sum of squares
constexpr int kTile = 16, kUnit = 256;
constexpr int kStreamThreads = 256, kWarps = kStreamThreads / 32;
constexpr int kProjectionPitch = kStreams * kUnit + 4;  // 16 bytes more, so that rows lie in different banks
constexpr int kPartPitch = 28;

// In floats.
constexpr int kProjectionSize = kOutputs * kProjectionPitch, kPartsSize = kWarps * kTile * kPartPitch, kMixSize = kTile * kPartPitch;
// Of the unit's sums of a tile, in memory.
constexpr int kSumsSize = kTile * kValues;
template <class X>
constexpr int kRowWords = 2 * kStreams * Piece<X>::kWords * kStreamThreads;

inline int units_of(int64_t width) { return static_cast<int>((width + kUnit - 1) / kUnit); }
inline int64_t tiles_of(int64_t tokens) { return (tokens + kTile - 1) / kTile; }
// Groups of blocks, a block to each multiprocessor.
inline int groups_of(const Sizes& sizes, const DeviceProperties& device) {
  int64_t tiles = tiles_of(sizes.tokens), groups = device.multiprocessors / units_of(sizes.width);
  int64_t most = kCounters / GroupCounters::kOfGroup;
  groups = groups < most ? groups : most;
  return static_cast<int>(groups < tiles ? groups : tiles);
}

using Columns = UnitColumns<kOutputs, kStreams, kUnit, kProjectionPitch>;

// A thread's place in a tile: tokens token and token + 8, eight channels from channel on.
struct Place {
  int thread, warp, lane, token;
  int64_t channel;

  MHC_FN Place(int of_stream_threads, int unit) : thread(of_stream_threads), warp(thread / 32), lane(thread % 32), token(lane / 4) {
    channel = int64_t{unit} * kUnit + warp * 32 + lane % 4 * kPiece;
  }
};

// A thread's pieces in shared memory, a word of each thread after the other.
template <class T>
MHC_FN void put(Bits16* at, int index, const Piece<T>& piece) {
#pragma unroll
  for (int w = 0; w < Piece<T>::kWords; ++w) at[(index * Piece<T>::kWords + w) * kStreamThreads] = piece.bits[w];
}
template <class T>
MHC_FN Piece<T> get(const Bits16* at, int index) {
  Piece<T> piece;
#pragma unroll
  for (int w = 0; w < Piece<T>::kWords; ++w) piece.bits[w] = at[(index * Piece<T>::kWords + w) * kStreamThreads];
  return piece;
}

// Zeros behind count elements: where the projection ends too, but 0 times an infinite remainder is not 0.
template <class T>
MHC_FN Piece<T> first_of(const Piece<T>& piece, int64_t count) {
  float v[kPiece];
#pragma unroll
  for (int e = 0; e < kPiece; ++e) v[e] = e < count ? piece[e] : 0.0f;
  Piece<T> out;
  out.set(v);
  return out;
}

// The four lanes of a token.
MHC_FN float over_lanes(float v) {
  v = v + shuffle_xor(v, 1);
  return v + shuffle_xor(v, 2);
}

// The warps' sums of a tile, [warp][token][kPartPitch]: its rows, of which rows points at the thread's pieces, times the unit's
// projection, and what each thread has of its two tokens' squares. one_part: the projection rounded to TF32, for rows of
// 16 bits; where they have 32, that would cost the pass registers that it does not have.
template <class X>
MHC_FN void put_parts(const Place& place, const float* projection, const Bits16* rows, const float (&own_squares)[2], bool one_part,
                      float* parts) {
  float high[3][4] = {}, low[3][4] = {};
  const float* weights = projection + place.token * kProjectionPitch + place.warp * 32 + place.lane % 4 * kPiece;
#pragma unroll 1
  for (int i = 0; i < kStreams; ++i) {
    const Piece<X> top = get<X>(rows, i), bottom = get<X>(rows, kStreams + i);
#pragma unroll
    for (int j = 0; j < 3; ++j) {
      float weight[kPiece];
#pragma unroll
      for (int v = 0; v < kPiece; v += 4) {
        const Bits16 bits = *reinterpret_cast<const Bits16*>(weights + j * 8 * kProjectionPitch + i * kUnit + v);
#pragma unroll
        for (int e = 0; e < 4; ++e) weight[v + e] = float_from_bits(bits.word[e]);
      }
#pragma unroll
      for (int q = 0; q < kPiece; q += 2) {
        const float a[4] = {top[q], bottom[q], top[q + 1], bottom[q + 1]};
        const auto part = [&](float v) { return sizeof(X) == 4 || one_part ? nearest_part(v) : high_part(v); };
        const float b_high[2] = {part(weight[q]), part(weight[q + 1])};
        const float b_low[2] = {weight[q] - b_high[0], weight[q + 1] - b_high[1]};
        if constexpr (sizeof(X) == 4) {
          const float a_high[4] = {part(a[0]), part(a[1]), part(a[2]), part(a[3])};
          const float a_low[4] = {a[0] - a_high[0], a[1] - a_high[1], a[2] - a_high[2], a[3] - a_high[3]};
          mma_tf32(high[j], a_high, b_high);
          mma_tf32(low[j], a_high, b_low);
          mma_tf32(low[j], a_low, b_high);
        } else {
          mma_tf32(high[j], a, b_high);
          if (!one_part) mma_tf32(low[j], a, b_low);
        }
      }
    }
  }
  float* part = parts + place.warp * kTile * kPartPitch;
#pragma unroll
  for (int j = 0; j < 3; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      part[(place.token + (e >= 2 ? 8 : 0)) * kPartPitch + 8 * j + place.lane % 4 * 2 + e % 2] = high[j][e] + low[j][e];
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float squares = over_lanes(own_squares[r]);
    if (place.lane % 4 == 0) part[(place.token + 8 * r) * kPartPitch + kOutputs] = squares;
  }
}

// Behind a barrier of the eight warps: their sums, added, to memory: [token][value].
MHC_FN void store_sums(const Place& place, const float* parts, float* sums) {
  for (int v = place.thread; v < kSumsSize; v += kStreamThreads) {
    const float* from = parts + v / kValues * kPartPitch + v % kValues;
    float sum = from[0];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += from[w * kTile * kPartPitch];
    store1(sums + v, sum);
  }
}

}  // namespace mhc::cuda::tile
