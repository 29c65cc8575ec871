// SPDX-License-Identifier: Apache-2.0
#include "cpu/pass_backward.h"

#include "core/pieces.h"
#include "cpu/activate.h"
#include "cpu/fp8.h"
#include "cpu/post_backward.h"
#include "cpu/pre.h"
#include "cpu/product_backward.h"
#include "cpu/slabs.h"
#include "lanes/rms.h"

namespace mhc::cpu::MHC_TIER {
namespace {

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

Plan plan_of(const BoundaryBackwardProblem& p, int threads) {
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

// scale and bias, read once.
struct Affine {
  float scale[3] = {};
  float bias[kMaxStreams * kMaxStreams + 2 * kMaxStreams] = {};

  Affine(const ParameterViews& parameters, int64_t m) {
    for (int k = 0; parameters.scale && k < 3; ++k) scale[k] = load1(parameters.scale.at<float>(k));
    for (int64_t k = 0; parameters.bias && k < m; ++k) bias[k] = load1(parameters.bias.at<float>(k));
  }
};

// Lanes 0 ... count-1 from floats step apart; zeros behind.
inline F to_lanes(const float* from, int64_t step, int count) {
  alignas(64) float lane[W] = {};
  for (int t = 0; t < count; ++t) lane[t] = from[t * step];
  return load(lane);
}
inline void from_lanes(F value, float* to, int64_t step, int count) {
  alignas(64) float lane[W];
  store(lane, value);
  for (int t = 0; t < count; ++t) to[t * step] = lane[t];
}

// One block of tokens, first ... first + tokens - 1, of one slab.
template <class X, class H, int N, bool Post, bool Layer>
class Block {
 public:
  Block(const BoundaryBackwardProblem& p, const Plan& plan, const Affine& affine, const Shared& shared,
        const Scratch<X, H>& s, int64_t slab, int64_t first, int64_t tokens)
      : p(p), plan(plan), affine(affine), shared(shared), s(s), slab_(slab), first_(first), tokens_(tokens),
        n(p.sizes.streams), m(p.sizes.mix_count), dots_step_(post_dots(n) + n) {}

  void run() {
    bring_coefficients();
    for (int64_t t = 0; t < tokens_; ++t) {
      bring_rows(t);
      if (plan.norm) {
        scan<Sums::Norm>(t);
      } else if (plan.scan) {
        scan<Sums::Pre>(t);
      } else if (Post) {
        scan<Sums::None>(t);
      }
    }
    if (plan.d_activation) coefficients();
    for (int64_t k = 0; k < tokens_ * dots_step_; ++k) s.dots[k] = zero();
    if (p.d_x || plan.d_projection) {
      int64_t c = 0;
      for (; c + kChunk <= p.sizes.width; c += kChunk) chunk<true>(c);
      if (c < p.sizes.width) chunk<false>(c);
    }
    if (!Post && !plan.layer) return;
    for (int64_t t = 0; t < tokens_; ++t) write_dots(t);
  }

 private:
  static constexpr int kRoom = MHC_TIER::kRoom<N>;

  // The caller's coefficients of the block; and what makes h, from mix as the forward had it.
  void bring_coefficients() {
    for (int64_t t = 0; t < tokens_; ++t) {
      int64_t token = first_ + t;
      if constexpr (Post) s.mix_in[t].load(p.post_mix, p.res_mix, p.config.orientation, token, n);
      if (Layer && p.config.shifted) load_mix_row(p.shifted_pre_mix, token, n, s.pre + t * n);
      if (!plan.product) continue;
      for (int64_t j = 0; j < m; ++j) s.mix[t * m + j] = load1(p.mix.at<float>(token, j));
    }
    if (!plan.pre_from_layer) return;
    F *mix = s.lanes, *pre = mix + m;
    for (int64_t base = 0; base < tokens_; base += W) {
      int count = static_cast<int>(std::min<int64_t>(W, tokens_ - base));
      bring_mix(base, count, mix);
      activate_pre(p.config, affine.scale, affine.bias, mix, pre);
      for (int i = 0; i < n; ++i) from_lanes(pre[i], s.pre + base * n + i, n, count);
    }
  }

  void bring_mix(int64_t base, int count, F* mix) const {
    if (!plan.product) return;
    for (int64_t j = 0; j < m; ++j) mix[j] = to_lanes(s.mix + base * m + j, m, count);
  }

  // A token's rows to scratch, row after row, which memory gives faster than chunks of many rows; zeros behind the last
  // channel up to a whole vector.
  void bring_rows(int64_t t) {
    const int64_t token = first_ + t;
    auto bring = [&](const View& view, const auto* from, auto* to) {
      const int64_t width = p.sizes.width;
      constexpr int64_t kStep = W * static_cast<int64_t>(sizeof(float) / sizeof(*to));  // elements of a register
      int64_t c = 0;
      for (; c + kStep <= width; c += kStep) {
        prefetch(from + view.stride[0] + c);  // of the next token
        copy(reinterpret_cast<const float*>(from + c), reinterpret_cast<float*>(to + c));
      }
      for (; c < width; c += W) copy_upto(from + c, to + c, width - c);
    };
    for (int i = 0; i < n; ++i) {
      if (plan.next) bring(p.x, p.x.at<X>(token, i), row(s.x, t, i));
      if (p.d_x && p.d_x_next) bring(p.d_x_next, p.d_x_next.at<X>(token, i), row(s.d_next, t, i));
    }
    if constexpr (Post) p.f_scale ? dequantise(t) : bring(p.f, p.f.at<H>(token), s.f + t * plan.pitch);
    if constexpr (Layer) bring(p.d_h, p.d_h.at<H>(token), s.d_h + t * plan.pitch);
  }
  void dequantise(int64_t t) const {
    float* to = s.f_dequantised + t * plan.pitch;
    store(to + (p.sizes.width - 1) / W * W, zero());
    fp8_dequantize_row(p.f.at<e4m3>(first_ + t), p.f_scale, first_ + t, 0, p.sizes.width, to);
  }
  LayerRow<H> layer_row(int64_t t) const {
    if (p.f_scale) return {nullptr, s.f_dequantised + t * plan.pitch};
    return {s.f + t * plan.pitch, nullptr};
  }
  X* row(X* rows, int64_t t, int stream) const { return rows + (t * n + stream) * plan.pitch; }

  // next to scratch, and the sums over channels that dh and d_pre_mix need.
  enum class Sums { None, Pre, Norm };
  template <Sums kSums>
  void scan(int64_t t) {
    const int64_t width = p.sizes.width;
    const float* pre = s.pre + t * n;
    F along[kRoom], across[kRoom], squares = zero(), inner = zero();
    repeat<N>(n, [&](auto o) MHC_INLINE { along[o] = across[o] = zero(); });
    for (int64_t c = 0; c < width; c += W) {
      F x[kRoom], next[kRoom];
      repeat<N>(n, [&](auto i) MHC_INLINE { next[i] = x[i] = load(row(s.x, t, i) + c); });
      if constexpr (Post) {
        F f = layer_row(t).at(c, W);
        repeat<N>(n, [&](auto o) MHC_INLINE {
          Packed<X> packed = pack<X>(post_value<N>(s.mix_in[t], o, x, f, n));
          next[o] = unpack(packed);
          store(row(s.next, t, o) + c, packed);
        });
      }
      if constexpr (kSums == Sums::None) continue;
      F gradient = load(s.d_h + t * plan.pitch + c);
      if constexpr (kSums == Sums::Norm) {
        F h = rounded<H>(pre_value<N>(pre, next, n));
        gradient = gradient * load_upto(p.norm_weight.at<float>() + c, width - c);
        squares = fma(h, h, squares);
        inner = fma(gradient, h, inner);
        repeat<N>(n, [&](auto o) MHC_INLINE { across[o] = fma(next[o], h, across[o]); });
      }
      repeat<N>(n, [&](auto o) MHC_INLINE { along[o] = fma(next[o], gradient, along[o]); });
    }
    if constexpr (kSums == Sums::Norm) {
      float r = inv_rms_of(sum(squares), width, MHC_RMS_EPS_INSIDE, p.norm_eps);
      float k = r * r * (sum(inner) / static_cast<float>(width));
      s.inv_rms[t] = r;
      s.inner[t] = k;
      for (int o = 0; o < n; ++o) s.d_pre[t * n + o] = r * (sum(along[o]) - k * sum(across[o]));
    } else if constexpr (kSums == Sums::Pre) {
      for (int o = 0; o < n; ++o) s.d_pre[t * n + o] = sum(along[o]);
    }
  }

  // Through the activation, W tokens at a time: g, c, and the sums of d_bias and d_scale.
  void coefficients() {
    F *mix = s.lanes, *d_pre = mix + m, *d_post = d_pre + n, *d_res = d_post + n, *d_logit = d_res + n * n,
      *d_mix = d_logit + m, *d_scale = d_mix + m;
    for (int64_t base = 0; base < tokens_; base += W) {
      int count = static_cast<int>(std::min<int64_t>(W, tokens_ - base));
      bring_mix(base, count, mix);
      for (int i = 0; i < n; ++i) {
        d_pre[i] = plan.pre_from_layer ? to_lanes(s.d_pre + base * n + i, n, count)
                                       : lanes_of(p.d_pre_mix_next, base, count, i, 0);
        d_post[i] = lanes_of(p.d_post_mix_next, base, count, i, 0);
        for (int j = 0; j < n; ++j) d_res[i * n + j] = lanes_of(p.d_res_mix_next, base, count, i, j);
      }
      activate_backward(p.config, affine.scale, affine.bias, mix, d_pre, d_post, d_res, d_logit, d_mix, d_scale,
                        s.activation);
      for (int64_t j = 0; j < m; ++j) s.sums[j] = s.sums[j] + only(d_logit[j], count);
      if (!plan.product) continue;
      for (int k = 0; k < 3; ++k) s.sums[m + k] = s.sums[m + k] + only(d_scale[k], count);
      F inv_rms = lanes_of(p.inv_rms, base, count, 0, 0);
      F along = zero();
      for (int64_t j = 0; j < m; ++j) {
        along = fma(d_mix[j], mix[j], along);
        from_lanes(d_mix[j] * inv_rms, s.g + base * m + j, m, count);
      }
      const F c = through_rms(along, inv_rms, n * p.sizes.width, p.config.rms_eps_mode, p.config.rms_eps);
      from_lanes(c, s.c + base, 1, count);
    }
  }

  // Entry (i, j) of count tokens' coefficients; zeros where they are not given.
  F lanes_of(const View& view, int64_t base, int count, int i, int j) const {
    if (!view) return zero();
    alignas(64) float lane[W] = {};
    for (int t = 0; t < count; ++t) lane[t] = load1(view.at<float>(first_ + base + t, i, j));
    return load(lane);
  }
  static F only(F value, int count) {
    alignas(64) float lane[W];
    store(lane, value);
    return load_upto(lane, count);
  }

  // Where vector v of token t is in a chunk of streams.
  int64_t at(int v, int64_t t) const { return (v * plan.block + t) * n * W; }

  // Channels c ... of all tokens; a whole chunk has kChunk of them.
  template <bool Whole>
  void chunk(int64_t c) {
    const int64_t left = p.sizes.width - c;
    const int vectors = Whole ? kChunkVectors : static_cast<int>((left + W - 1) / W);
    for (int64_t t = 0; Layer && t < tokens_; ++t) {
      plan.norm ? layer<true>(t, c, vectors) : layer<false>(t, c, vectors);
    }
    if (p.d_x) {
      const Tiles tiles(p.sizes);
      for (int v = 0; plan.product && v < vectors; ++v) {
        back_to_rows(s.g, tokens_, tiles, tiles.at(shared.projection, c / W + v), s.d + at(v, 0), n * W);
      }
      for (int64_t t = 0; t < tokens_; ++t) leave<Whole>(t, c, left, vectors);
    }
  }

  template <bool Norm>
  void layer(int64_t t, int64_t c, int vectors) {
    const float* pre = s.pre + t * n;
    F* d_shifted = s.dots + t * dots_step_ + post_dots(n);
    float* d_weight = shared.sums && p.d_norm_weight ? shared.d_norm_weight(slab_) + m + 3 + c : nullptr;
    for (int v = 0; v < vectors; ++v) {
      F next[kRoom], dh = load(s.d_h + t * plan.pitch + c + v * W);
      repeat<N>(n, [&](auto o) MHC_INLINE { next[o] = load(row(s.next, t, o) + c + v * W); });
      if constexpr (Norm) {
        F h = rounded<H>(pre_value<N>(pre, next, n));
        if (d_weight) {
          store(d_weight + v * W, fma(dh * set(s.inv_rms[t]), h, load(d_weight + v * W)));
        }
        F d_y = dh * load_upto(p.norm_weight.at<float>() + c + v * W, p.sizes.width - c - v * W);
        dh = set(s.inv_rms[t]) * (d_y - set(s.inner[t]) * h);
      }
      store(s.dh + (v * plan.block + t) * W, dh);
      if (plan.scan) continue;
      repeat<N>(n, [&](auto o) MHC_INLINE { d_shifted[o] = fma(next[o], dh, d_shifted[o]); });
    }
  }

  // D, and what follows from it.
  template <bool Whole>
  void leave(int64_t t, int64_t c, int64_t left, int vectors) {
    const int64_t token = first_ + t;
    const float* pre = s.pre + t * n;
    const F along = set(plan.product ? s.c[t] : 0.0f);
    for (int v = 0; v < vectors; ++v) {
      F dh = Layer ? load(s.dh + (v * plan.block + t) * W) : zero();
      repeat<N>(n, [&](auto o) MHC_INLINE {
        F value = p.d_x_next ? load(row(s.d_next, t, o) + c + v * W) : zero();
        if constexpr (Layer) value = fma(set(pre[o]), dh, value);
        float* d = s.d + at(v, t) + o * W;
        if (plan.product) value = value + fma(along, load(row(s.next, t, o) + c + v * W), load(d));
        if constexpr (Post) {
          store(d, value);
        } else {
          const int64_t rest = Whole ? W : left - v * W;
          X* out = p.d_x.at<X>(token, o) + c + v * W;
          if (p.accumulate_inputs) value = value + load_upto(out, rest);
          put(out, value, rest, plan.past_caches);
        }
      });
    }
    if constexpr (Post) {
      PostOutputs<X, H> out{p.d_x.at<X>(token) + c, p.d_x.stride[1], p.d_f.at<H>(token) + c, p.accumulate_inputs,
                            plan.past_caches};
      post_backward_chunk<X, H, N, Whole>(s.mix_in[t], n, s.d + at(0, t), plan.block * n * W, row(s.x, t, 0) + c,
                                          plan.pitch, layer_row(t).from(c), left, out, s.dots + t * dots_step_);
    }
  }

  void write_dots(int64_t t) const {
    const F* dots = s.dots + t * dots_step_;
    if constexpr (Post) write_post_dots(dots, n, p.config.orientation, first_ + t, p.d_post_mix, p.d_res_mix);
    if (!p.d_shifted_pre_mix) return;
    for (int o = 0; o < n; ++o) {
      store1(p.d_shifted_pre_mix.at<float>(first_ + t, o),
             plan.scan ? s.d_pre[t * n + o] : sum(dots[post_dots(n) + o]));
    }
  }

  const BoundaryBackwardProblem& p;
  const Plan& plan;
  const Affine& affine;
  const Shared& shared;
  const Scratch<X, H>& s;
  const int64_t slab_, first_, tokens_;
  const StreamCount<N> n;
  const int64_t m, dots_step_;
};

// Of a window's tokens, so that the slab's tiles, larger than a cache, come and go once for many tokens.
template <class X, class H>
void add_to_projection(const Sizes& sizes, const Plan& plan, const Scratch<X, H>& s, int64_t tokens, bool fresh, float* slab_tiles) {
  const Tiles tiles(sizes);
  for (int64_t v = 0; v < tiles.count; ++v) {
    back_to_projection(s.g, s.next + v * W, plan.pitch, tokens, tiles, fresh, tiles.at(slab_tiles, v));
  }
}

template <class X, class H, int N, bool Post, bool Layer>
void run_slab(const BoundaryBackwardProblem& p, const Plan& plan, const Affine& affine, const Shared& shared,
              char* scratch, int64_t slab) {
  Scratch<X, H> s;
  s.lay_out(scratch, p, plan);
  int64_t m = p.sizes.mix_count;
  for (int64_t k = 0; k < m + 3; ++k) s.sums[k] = zero();
  if (shared.sums) {
    for (int64_t k = 0; k < shared.sums_step; k += W) store(shared.d_bias(slab) + k, zero());
  }
  int64_t last = std::min(p.sizes.tokens, (slab + 1) * plan.slab);
  for (int64_t from = slab * plan.slab; from < last; from += plan.window) {
    const int64_t window = std::min(plan.window, last - from);
    for (int64_t t = 0; t < window; t += plan.block) {
      const Scratch<X, H> behind = s.behind(t, p.sizes, plan);
      Block<X, H, N, Post, Layer>(p, plan, affine, shared, behind, slab, from + t, std::min(plan.block, window - t)).run();
    }
    if (plan.d_projection) {
      add_to_projection(p.sizes, plan, s, window, from == slab * plan.slab, shared.tiles + slab * shared.tiles_step);
    }
  }
  if (shared.sums) {
    for (int64_t k = 0; k < m + 3; ++k) shared.d_bias(slab)[k] = sum(s.sums[k]);
  }
  stream_fence();
}

// The slabs' sums of the smaller gradients, to where they belong.
void write_sums(const BoundaryBackwardProblem& p, const Plan& plan, const Shared& shared) {
  auto write = [&](const View& to, int64_t from, int64_t count) {
    for (int64_t k = 0; to && k < count; ++k) {
      float total = 0.0f;
      for (int64_t s = 0; s < plan.slabs; ++s) total += shared.sums[s * shared.sums_step + from + k];
      if (p.accumulate_parameters) total += load1(to.at<float>(k));
      store1(to.at<float>(k), total);
    }
  };
  int64_t m = p.sizes.mix_count;
  write(p.d_parameters.bias, 0, m);
  write(p.d_parameters.scale, m, 3);
  write(p.d_norm_weight, m + 3, p.sizes.width);
}

// body(X, H, Post, Layer) of the problem.
template <class Body>
void with_kind(const BoundaryBackwardProblem& p, const Body& body) {
  if (!p.d_h) {
    with_row_type(p.x.type, [&](auto x) { body(x, x, std::false_type{}, std::false_type{}); });
  } else if (!p.f) {
    with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) { body(x, h, std::false_type{}, std::true_type{}); });
  } else {
    with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) { body(x, h, std::true_type{}, std::true_type{}); });
  }
}

}  // namespace

Space pass_backward_space(const BoundaryBackwardProblem& p, int threads) {
  Plan plan = plan_of(p, threads);
  Space space;
  space.shared = Shared(p, plan, nullptr).bytes;
  with_kind(p, [&](auto x, auto h, auto, auto) {
    space.per_thread = Scratch<typename decltype(x)::type, typename decltype(h)::type>{}.lay_out(nullptr, p, plan);
  });
  return space;
}

void run_pass_backward(const BoundaryBackwardProblem& p, const Job& job) {
  const Plan plan = plan_of(p, job.pool.threads());
  const Shared shared(p, plan, job.shared);
  const Affine affine(p.parameters, p.sizes.mix_count);
  if (p.sizes.tokens == 0 && p.accumulate_parameters) return;
  if (shared.projection && plan.slabs > 0) to_tiles(p.parameters, p.sizes, job.pool, shared.projection);
  with_kind(p, [&](auto x, auto h, auto post, auto layer) {
    with_streams(p.sizes.streams, [&](auto streams) {
      job.pool.parallel(plan.slabs, [&](int worker, int64_t slab) {
        run_slab<typename decltype(x)::type, typename decltype(h)::type, streams, post, layer>(
            p, plan, affine, shared, job.scratch(worker), slab);
      });
    });
  });
  if (plan.d_parameters) write_sums(p, plan, shared);
  if (plan.d_projection) {
    from_tiles(p.parameters, p.d_parameters, p.sizes, p.accumulate_parameters, shared.tiles, shared.tiles_step,
               plan.slabs, job.pool);
  }
}

}  // namespace mhc::cpu::MHC_TIER
