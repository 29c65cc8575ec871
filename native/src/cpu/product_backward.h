// SPDX-License-Identifier: Apache-2.0
// The two products of the backward with the projection, for a block of tokens:
//   back_to_rows         d_x[t]  = sum_j g[t][j] projection[j]     [tokens x m] . [m x row]
//   back_to_projection   d_projection[j] += sum_t g[t][j] x[t]     [m x tokens] . [tokens x row]
// The projection and its gradient are kept in tiles: tile v holds channels v*W ... v*W + W-1 of every stream and every
// row of the projection, [m][n] vectors in one run, so that a tile stays in the first-level cache while it meets each
// token, and tile after tile is read in the order of memory.
#pragma once

#include "cpu/dispatch.h"

namespace mhc::cpu::MHC_TIER {

struct Tiles {
  int64_t count = 0;  // ceil(width / W)
  int64_t m = 0;
  int n = 1;

  explicit Tiles(const Sizes& s) : count((s.width + W - 1) / W), m(s.mix_count), n(s.streams) {}
  int64_t floats_each() const { return m * n * W; }
  size_t bytes() const { return static_cast<size_t>(count * floats_each()) * sizeof(float); }
  float* at(float* base, int64_t tile) const { return base + tile * floats_each(); }
  const float* at(const float* base, int64_t tile) const { return base + tile * floats_each(); }
};

// projection, times norm_weight where that is given, to tiles; zeros behind the last channel.
void to_tiles(const ParameterViews& parameters, const Sizes& sizes, Pool& pool, float* tiles);

// out[t][n] = sum_j g[t][j] tile[j][n]: vectors, out_step floats from token to token. A token's sums run over j in
// order, whatever the other tokens.
void back_to_rows(const float* g, int64_t tokens, const Tiles& tiles, const float* tile, float* out, int64_t out_step);

// tile[j][n] += sum_t g[t][j] x[t][n], or = where fresh; over t in order. x[t][n] are vectors of bf16, f16 or float,
// x_step elements from stream to stream and from token to token.
template <class X>
void back_to_projection(const float* g, const X* x, int64_t x_step, int64_t tokens, const Tiles& tiles, bool fresh,
                        float* tile);

// Adds up the slabs' tiles, first to last, and writes (or adds) the gradients of projection and norm_weight; either may
// be missing. The slabs' tiles are slab_step floats apart and do not outlive this; there is room for one even with no slabs.
void from_tiles(const ParameterViews& parameters, const ParameterViews& d_parameters, const Sizes& sizes,
                bool accumulate, float* slab_tiles, int64_t slab_step, int64_t slabs, Pool& pool);

}  // namespace mhc::cpu::MHC_TIER
