// SPDX-License-Identifier: Apache-2.0
// One block of tokens on its way through the backward of a boundary: pass_backward.h has the plan.
#pragma once

#include "cpu/fp8.h"
#include "cpu/pass_backward_plan.h"
#include "cpu/pre.h"
#include "cpu/vec_pair.h"
#include "lanes/rms.h"

namespace mhc::cpu::MHC_TIER::backward {

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
      if (plan.norm) {
        enter<Sums::Norm>(t);
      } else if (plan.scan) {
        enter<Sums::Pre>(t);
      } else {
        enter<Sums::None>(t);
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

  // A row's way from memory to scratch.
  template <class T>
  struct Way {
    const T* from;
    T* to;
    int64_t next;  // elements to the next token's
  };

  enum class Sums { None, Pre, Norm };

  // A token's rows to scratch, zeros behind the last channel up to a whole vector. While memory brings them: x_{l+1}, and
  // the sums over channels that dh and d_pre_mix need.
  template <Sums kSums>
  void enter(int64_t t) {
    const int64_t token = first_ + t, width = p.sizes.width;
    Way<X> streams[2 * kRoom];
    Way<H> layers[2];
    int wide = 0, narrow = 0;
    repeat<N>(n, [&](auto i) {
      if (plan.next) streams[wide++] = {p.x.at<X>(token, i), row(s.x, t, i), p.x.stride[0]};
      if (p.d_x && p.d_x_next) streams[wide++] = {p.d_x_next.at<X>(token, i), row(s.d_next, t, i), p.d_x_next.stride[0]};
    });
    if (Post && p.f_scale) dequantise(t);
    if (Post && !p.f_scale) layers[narrow++] = {p.f.at<H>(token), s.f + t * plan.pitch, p.f.stride[0]};
    if (Layer) layers[narrow++] = {p.d_h.at<H>(token), s.d_h + t * plan.pitch, p.d_h.stride[0]};

    // Of each row to come a line, so that its page is translated by then.
    for (int k = 0; k < wide; ++k) prefetch(streams[k].from + 2 * streams[k].next);

    const Brought rows = brought(t);
    RowSums sums(n);
    int64_t c = 0;
    for (; c + 2 * W <= width; c += 2 * W) {
      for (int k = 0; k < wide; ++k) bring_pair(streams[k], c);
      for (int k = 0; k < narrow; ++k) bring_pair(layers[k], c);
      scan<kSums>(t, rows, c, sums);
      scan<kSums>(t, rows, c + W, sums);
    }
    for (; c < width; c += W) {
      for (int k = 0; k < wide; ++k) copy_upto(streams[k].from + c, streams[k].to + c, width - c);
      for (int k = 0; k < narrow; ++k) copy_upto(layers[k].from + c, layers[k].to + c, width - c);
      scan<kSums>(t, rows, c, sums);
    }
    settle<kSums>(t, sums);
  }
  template <class T>
  static void bring_pair(const Way<T>& way, int64_t c) {
    prefetch_pair(way.from + way.next + c);
    Pairs<T>::store(way.to + c, Pairs<T>::load_packed(way.from + c));
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

  // A token's rows in scratch. By value: the compiler cannot know that no store changes what they are found by.
  struct Brought {
    const X* x;
    X* next;
    LayerRow<H> f;
    const H* d_h;
    int64_t pitch;
  };
  Brought brought(int64_t t) const {
    return {row(s.x, t, 0), row(s.next, t, 0), layer_row(t), s.d_h + t * plan.pitch, plan.pitch};
  }

  // Over channels, of one token.
  struct RowSums {
    F along[kRoom], across[kRoom], squares = zero(), inner = zero();
    explicit RowSums(const StreamCount<N>& n) {
      repeat<N>(n, [&](auto o) MHC_INLINE { along[o] = across[o] = zero(); });
    }
  };

  template <Sums kSums>
  void scan(int64_t t, const Brought rows, int64_t c, RowSums& sums) {
    if constexpr (!Post && kSums == Sums::None) return;
    F x[kRoom], next[kRoom];
    repeat<N>(n, [&](auto i) MHC_INLINE { next[i] = x[i] = load(rows.x + i * rows.pitch + c); });
    if constexpr (Post) {
      F f = rows.f.at(c, W);
      repeat<N>(n, [&](auto o) MHC_INLINE {
        Packed<X> packed = pack<X>(post_value<N>(s.mix_in[t], o, x, f, n));
        next[o] = unpack(packed);
        store(rows.next + o * rows.pitch + c, packed);
      });
    }
    if constexpr (kSums == Sums::None) return;
    F gradient = load(rows.d_h + c);
    if constexpr (kSums == Sums::Norm) {
      F h = rounded<H>(pre_value<N>(s.pre + t * n, next, n));
      gradient = gradient * load_upto(p.norm_weight.at<float>() + c, p.sizes.width - c);
      sums.squares = fma(h, h, sums.squares);
      sums.inner = fma(gradient, h, sums.inner);
      repeat<N>(n, [&](auto o) MHC_INLINE { sums.across[o] = fma(next[o], h, sums.across[o]); });
    }
    repeat<N>(n, [&](auto o) MHC_INLINE { sums.along[o] = fma(next[o], gradient, sums.along[o]); });
  }

  template <Sums kSums>
  void settle(int64_t t, const RowSums& sums) {
    if constexpr (kSums == Sums::Norm) {
      float r = inv_rms_of(sum(sums.squares), p.sizes.width, MHC_RMS_EPS_INSIDE, p.norm_eps);
      float k = r * r * (sum(sums.inner) / static_cast<float>(p.sizes.width));
      s.inv_rms[t] = r;
      s.inner[t] = k;
      for (int o = 0; o < n; ++o) s.d_pre[t * n + o] = r * (sum(sums.along[o]) - k * sum(sums.across[o]));
    } else if constexpr (kSums == Sums::Pre) {
      for (int o = 0; o < n; ++o) s.d_pre[t * n + o] = sum(sums.along[o]);
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
    const Brought rows = brought(t);
    for (int v = 0; v < vectors; ++v) {
      F next[kRoom], dh = load(rows.d_h + c + v * W);
      repeat<N>(n, [&](auto o) MHC_INLINE { next[o] = load(rows.next + o * rows.pitch + c + v * W); });
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
    const bool product = plan.product, given = p.d_x_next.given;
    const F along = set(product ? s.c[t] : 0.0f);
    const int64_t pitch = plan.pitch, step = plan.block * n * W, dh_step = plan.block * W;
    const X *d_next = given ? row(s.d_next, t, 0) + c : nullptr, *next = row(s.next, t, 0) + c;
    const float *dh_chunk = s.dh + t * W, *products = s.d + at(0, t);
    auto gradient = [=, this](int v, F* value) MHC_INLINE {
      F dh = Layer ? load(dh_chunk + v * dh_step) : zero();
      repeat<N>(n, [&](auto o) MHC_INLINE {
        value[o] = given ? load(d_next + o * pitch + v * W) : zero();
        if constexpr (Layer) value[o] = fma(set(pre[o]), dh, value[o]);
        if (!product) return;
        value[o] = value[o] + fma(along, load(next + o * pitch + v * W), load(products + v * step + o * W));
      });
    };
    if constexpr (Post) {
      PostOutputs<X, H> out{p.d_x.at<X>(token) + c, p.d_x.stride[1], p.d_f.at<H>(token) + c, p.accumulate_inputs,
                            plan.past_caches};
      post_backward_chunk<X, H, N, Whole>(s.mix_in[t], n, gradient, s.d + at(0, t), plan.block * n * W,
                                          row(s.x, t, 0) + c, plan.pitch, layer_row(t).from(c), left, out,
                                          s.dots + t * dots_step_);
    } else {
      for (int v = 0; v < vectors; ++v) {
        F value[kRoom];
        gradient(v, value);
        repeat<N>(n, [&](auto o) MHC_INLINE {
          const int64_t rest = Whole ? W : left - v * W;
          X* out = p.d_x.at<X>(token, o) + c + v * W;
          if (p.accumulate_inputs) value[o] = value[o] + load_upto(out, rest);
          put(out, value[o], rest, plan.past_caches);
        });
      }
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

}  // namespace mhc::cpu::MHC_TIER::backward
