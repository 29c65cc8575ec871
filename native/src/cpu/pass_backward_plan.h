// SPDX-License-Identifier: Apache-2.0
// How the backward of a boundary cuts its tokens, and what lies where in its workspace.
#pragma once

#include <type_traits>

#include "core/operations.h"
#include "core/pieces.h"
#include "cpu/activate.h"
#include "cpu/post_backward.h"
#include "cpu/product_backward.h"
#include "cpu/slabs.h"

namespace mhc::cpu::MHC_TIER::backward {

constexpr int64_t kRowBytes = 1280 << 10;  // of a block's rows in scratch
constexpr int64_t kMaxBlock = 16;
constexpr int64_t kWindowBytes = 1 << 20;  // of a window's rows in scratch

// What a problem asks for, and how its tokens are cut.
struct Plan {
  bool post, layer, norm;
  bool product;           // the coefficients depend on next
  bool next;              // somebody asks for next
  bool scan;              // sums over whole rows come first
  bool pre_from_layer;    // pre_mix, not shifted_pre_mix, makes h
  bool d_activation;      // d_mix or d_bias are wanted
  bool d_projection;      // or norm_weight
  bool d_parameters;      // any of them, RMSNorm's weight too
  bool past_caches;
  int64_t block;          // tokens
  int64_t window;         // tokens whose rows wait in scratch for the gradient of the projection: some blocks
  int64_t slab, slabs;    // tokens of one, how many
  int64_t pitch;          // elements of a row in scratch
};

inline Plan plan_of(const BoundaryBackwardProblem& p, int threads) {
  Plan plan{};
  const ParameterViews& d = p.d_parameters;
  plan.post = p.f.given;
  plan.layer = p.d_h.given;
  plan.norm = p.norm_weight.given;
  plan.product = p.config.mode != MHC_MODE_RESIDUAL && !p.config.is_static;
  plan.next = plan.post || plan.layer || plan.product;
  plan.pre_from_layer = plan.layer && !p.config.shifted;
  plan.scan = plan.layer && (plan.norm || plan.pre_from_layer);
  plan.d_activation = plan.product || d.bias.given;
  plan.d_projection = plan.product && (d.projection.given || d.norm_weight.given);
  plan.d_parameters = plan.d_projection || d.bias.given || d.scale.given || p.d_norm_weight.given;
  plan.past_caches = !p.accumulate_inputs && p.d_x.data != p.d_x_next.data && larger_than_caches(p.d_x);
  plan.pitch = ((p.sizes.width + 31) / 32 | 1) * 32;  // odd, so that rows do not all fall into the same cache sets
  const int64_t stream_bytes = p.sizes.streams * static_cast<int64_t>(size_of(p.x.type));
  const int64_t wide_rows = plan.next + plan.post + (p.d_x && p.d_x_next);
  const int64_t row = plan.pitch * (wide_rows * stream_bytes +
                                    plan.post * static_cast<int64_t>(p.f_scale ? sizeof(float) : size_of(p.f.type)) +
                                    plan.layer * static_cast<int64_t>(size_of(p.d_h.type)));
  int64_t tokens = p.sizes.tokens;
  plan.block = std::clamp<int64_t>(kRowBytes / std::max<int64_t>(row, 1), 1, std::clamp<int64_t>(tokens, 1, kMaxBlock));
  if (plan.d_parameters) {
    plan.slabs = parts_of(tokens, plan.d_projection ? static_cast<int64_t>(Tiles(p.sizes).bytes()) : 0);
    plan.slab = (tokens + plan.slabs - 1) / plan.slabs;
  } else {
    plan.block = std::clamp<int64_t>((tokens + threads - 1) / threads, 1, plan.block);
    plan.slab = 4 * plan.block;
  }
  plan.slabs = plan.slab > 0 ? (tokens + plan.slab - 1) / plan.slab : 0;
  plan.window = plan.block;
  if (plan.d_projection) {
    const int64_t fit = std::min(kWindowBytes / std::max<int64_t>(plan.pitch * stream_bytes, 1), plan.slab);
    plan.window = std::max(fit / plan.block, int64_t{1}) * plan.block;
  }
  return plan;
}

using Pieces = mhc::Pieces<64>;

// Shared workspace: the projection in tiles, and for each slab its tiles and its sums of the smaller gradients.
struct Shared {
  float* projection = nullptr;
  float* tiles = nullptr;  // of slab 0
  int64_t tiles_step = 0;
  float* sums = nullptr;  // of slab 0: bias[m], scale[3], RMSNorm's weight[pitch]
  int64_t sums_step = 0;
  size_t bytes = 0;

  Shared(const BoundaryBackwardProblem& p, const Plan& plan, char* base) {
    Pieces pieces(base);
    Tiles all(p.sizes);
    int64_t floats = all.count * all.floats_each();
    if (plan.product && p.d_x) projection = pieces.take<float>(floats);
    if (plan.d_projection) {
      tiles = pieces.take<float>(floats * std::max<int64_t>(plan.slabs, 1));
      tiles_step = floats;
    }
    if (plan.d_parameters) {
      sums_step = (p.sizes.mix_count + 3 + plan.pitch + 15) / 16 * 16;
      sums = pieces.take<float>(sums_step * plan.slabs);
    }
    bytes = pieces.used();
  }
  float* d_bias(int64_t slab) const { return sums + slab * sums_step; }
  float* d_norm_weight(int64_t slab) const { return sums + slab * sums_step; }
};

// One thread's scratch for a block: its rows as they are stored, and chunks of [vector][token][stream] vectors of floats.
template <class X, class H>
struct Scratch {
  X *x, *next;    // [block][n][pitch], [window][n][pitch]; without a layer before, next is x
  X* d_next;      // [block][n][pitch]: the share of D that the layer after gives
  H *f, *d_h;     // [block][pitch]
  float* f_dequantised;  // [block][pitch], in place of an f that is FP8
  PostMix* mix_in;  // [block]: post_mix and H_res of the layer before
  float* pre;     // [block][n]: what makes h
  float* d_pre;   // [block][n]: the scan's result
  float* mix;     // [block][m]
  float* g;       // [window][m]: d_mix / r
  float* c;       // [block]: D gets c times next
  float* inv_rms; // [block], of h
  float* inner;   // [block]: dh = inv_rms * (d_y * weight - inner * h)
  F* dots;        // [block][n + n*n], and n of d_shifted_pre_mix
  float *d, *dh;  // chunks
  F* lanes;       // of W tokens: mix, and then pre, or d_pre, d_post, d_res, d_logit, d_mix, d_scale
  F* activation;
  F* sums;        // bias[m], scale[3], over a slab, lane by lane

  size_t lay_out(char* base, const BoundaryBackwardProblem& p, const Plan& plan) {
    Pieces pieces(base);
    int64_t n = p.sizes.streams, m = p.sizes.mix_count, b = plan.block;
    next = pieces.take<X>(plan.next ? plan.window * n * plan.pitch : 0);
    x = plan.post ? pieces.take<X>(b * n * plan.pitch) : next;
    d_next = pieces.take<X>(p.d_x && p.d_x_next ? b * n * plan.pitch : 0);
    f = pieces.take<H>(plan.post && !p.f_scale ? b * plan.pitch : 0);
    f_dequantised = pieces.take<float>(plan.post && p.f_scale ? b * plan.pitch : 0);
    d_h = pieces.take<H>(plan.layer ? b * plan.pitch : 0);
    mix_in = pieces.take<PostMix>(plan.post ? b : 0);
    pre = pieces.take<float>(b * n);
    d_pre = pieces.take<float>(b * n);
    mix = pieces.take<float>(b * m);
    g = pieces.take<float>(plan.window * m);
    c = pieces.take<float>(b);
    inv_rms = pieces.take<float>(b);
    inner = pieces.take<float>(b);
    dots = pieces.take<F>(b * (post_dots(static_cast<int>(n)) + n));
    d = pieces.take<float>(b * n * kChunk);
    dh = pieces.take<float>(b * kChunk);
    lanes = pieces.take<F>(3 * m + 2 * n + n * n + 3);
    activation = pieces.take<F>(static_cast<int64_t>(activate_backward_vectors(p.config)));
    sums = pieces.take<F>(m + 3);
    return pieces.used();
  }

  // That of the block behind the window's first tokens.
  Scratch behind(int64_t tokens, const Sizes& sizes, const Plan& plan) const {
    Scratch s = *this;
    s.next += tokens * sizes.streams * plan.pitch;
    if (!plan.post) s.x = s.next;
    s.g += tokens * sizes.mix_count;
    return s;
  }
};

}  // namespace mhc::cpu::MHC_TIER::backward
