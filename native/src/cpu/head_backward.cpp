// SPDX-License-Identifier: Apache-2.0
// With w the weights, s = sigmoid, r the RMS, g[j] = d_mix[j] / r, where d_mix[j] = scale * s'(logit[j]) * <x[j], d_y>:
//   d_x          = w d_y + g . projection + k x,  k from the derivative of 1/r
//   d_projection = sum over tokens of g x
// g needs sums over a whole row, so a block of tokens is met twice: the first visit brings its rows to scratch, the second
// goes through them tile by tile, each met by every token of the block.
#include <cmath>

#include "core/arguments.h"
#include "cpu/head.h"
#include "cpu/kernels.h"
#include "cpu/past_caches.h"
#include "cpu/product_backward.h"
#include "cpu/slabs.h"

namespace mhc::cpu::MHC_TIER {
namespace {

constexpr int64_t kRowBytes = 384 << 10;  // of rows in scratch
constexpr int64_t kMaxBlock = 16;         // tokens

template <int N>
constexpr int kStreamsOf = N == kAnyStreams ? kMaxStreams : N;

int64_t pitch_of(const Sizes& sizes) { return (sizes.width + 31) / 32 * 32; }

// How the tokens are cut: into slabs, whose parts of d_projection are added in order, and those into blocks.
struct Cut {
  int64_t block, slab, slabs;

  explicit Cut(const HeadBackwardProblem& p) {
    const int64_t tokens = p.sizes.tokens, bytes = static_cast<int64_t>(Tiles(p.sizes).bytes());
    const int64_t row = pitch_of(p.sizes) * (p.sizes.streams * static_cast<int64_t>(size_of(p.x.type)) +
                                             static_cast<int64_t>(size_of(p.d_y.type)));
    block = std::clamp<int64_t>(kRowBytes / row, 1, kMaxBlock);
    slab = p.d_projection ? (tokens + parts_of(tokens, bytes) - 1) / parts_of(tokens, bytes) : block;
    slabs = slab > 0 ? (tokens + slab - 1) / slab : 0;
  }
};

// Shared workspace.
struct Shared {
  float* d_logit;     // [T][n]
  float* projection;  // in tiles
  float* slab_tiles;  // of d_projection, one part after the other
  int64_t step;       // floats of a part
  size_t bytes;

  Shared(const HeadBackwardProblem& p, const Cut& cut, char* base) {
    const Tiles tiles(p.sizes);
    const int64_t logits = (p.sizes.tokens * p.sizes.streams + 15) / 16 * 16;
    step = tiles.count * tiles.floats_each();
    auto at = [&](int64_t floats) { return base ? reinterpret_cast<float*>(base) + floats : nullptr; };
    d_logit = at(0);
    projection = at(logits);
    slab_tiles = at(logits + step);
    bytes = static_cast<size_t>(logits + step * (1 + (p.d_projection ? std::max<int64_t>(cut.slabs, 1) : 0))) * sizeof(float);
  }
};

// What one token's d_x is made of, beside g.
struct TokenFactors {
  float weight[kMaxStreams], k;
};

// One thread's scratch for a block.
template <class X, class H>
struct Scratch {
  TokenFactors* factors;    // [block]
  float* g;                 // [block][n]
  float *x_tile, *product;  // [block][n * W]: x, and g . projection
  X* x;                     // [block][n][pitch]
  H* d_y;                   // [block][pitch]
  size_t bytes;

  Scratch(const HeadBackwardProblem& p, const Cut& cut, char* base) {
    const int64_t n = p.sizes.streams, pitch = pitch_of(p.sizes);
    bytes = 0;
    auto take = [&](auto*& piece, int64_t count) {
      piece = reinterpret_cast<std::remove_reference_t<decltype(piece)>>(base ? base + bytes : nullptr);
      bytes += (static_cast<size_t>(cut.block * count) * sizeof *piece + 63) / 64 * 64;
    };
    take(factors, 1);
    take(g, n);
    take(x_tile, n * W);
    take(product, n * W);
    take(x, n * pitch);
    take(d_y, pitch);
  }
};

template <class X, class H, int N>
class Block {
 public:
  Block(const HeadBackwardProblem& p, const HeadAffine& affine, const Shared& shared, const Scratch<X, H>& s,
        int64_t first, int64_t tokens)
      : p(p), affine(affine), shared(shared), s(s), first_(first), tokens_(tokens),
        n(N == kAnyStreams ? p.sizes.streams : N), pitch_(pitch_of(p.sizes)), tiles_(p.sizes) {}

  // part: the slab's tiles of d_projection, or nullptr; fresh where this block is its first.
  void run(float* part, bool fresh) const {
    for (int64_t t = 0; t < tokens_; ++t) enter(t);
    for (int64_t v = 0; v < tiles_.count; ++v) {
      back_to_rows(s.g, tokens_, tiles_, tiles_.at(shared.projection, v), s.product, n * W);
      for (int64_t t = 0; t < tokens_; ++t) leave(t, v * W);
      if (part) back_to_projection(s.g, s.x_tile, W, tokens_, tiles_, fresh, tiles_.at(part, v));
    }
  }

 private:
  // A token's rows to scratch, and its factors.
  void enter(int64_t t) const {
    F dot[kStreamsOf<N>], squares = zero();
    for (int i = 0; i < n; ++i) dot[i] = zero();
    const H* d_y = p.d_y.at<H>(first_ + t);
    for (int64_t c = 0; c < p.sizes.width; c += W) {
      int64_t left = p.sizes.width - c;
      copy_upto(d_y + c, s.d_y + t * pitch_ + c, left);
      F y = load(s.d_y + t * pitch_ + c);
      for (int i = 0; i < n; ++i) {
        X* kept = s.x + (t * n + i) * pitch_ + c;
        const X* x = p.x.at<X>(first_ + t, i) + c;
        prefetch(x + p.x.stride[0]);  // of the next token
        copy_upto(x, kept, left);
        F value = load(kept);
        dot[i] = fma(value, y, dot[i]);
        squares = fma(value, value, squares);
      }
    }
    float d_weight[kMaxStreams];
    for (int i = 0; i < n; ++i) d_weight[i] = sum(dot[i]);
    factors_of(t, d_weight, sum(squares));
  }

  void factors_of(int64_t t, const float* d_weight, float squares) const {
    const int64_t token = first_ + t;
    TokenFactors& out = s.factors[t];
    float mix[kMaxStreams], *d_logit = shared.d_logit + token * n;
    for (int i = 0; i < n; ++i) mix[i] = load1(p.mix.at<float>(token, i));
    for (int i = 0; i < n; i += W) {
      F logit = affine.logit(mix, i, n);
      store_upto(out.weight + i, sigmoid(logit) + set(p.config.pre_eps), n - i);
      store_upto(d_logit + i, sigmoid_slope(logit) * load_upto(d_weight + i, n - i), n - i);
    }
    const float inv_rms = load1(p.inv_rms.at<float>(token)), count = static_cast<float>(n * p.sizes.width);
    float product = 0;
    for (int i = 0; i < n; ++i) {
      const float d_mix = affine.scale * d_logit[i];
      product += d_mix * mix[i];
      s.g[t * n + i] = d_mix * inv_rms;
    }
    // d(1/r)/dx is -x / r^2 / (nC * root of the mean square); inside, 1/r is that root's inverse.
    const float root = std::sqrt(squares / count);
    const float slope = p.config.rms_eps_mode == MHC_RMS_EPS_INSIDE ? inv_rms * inv_rms : inv_rms / root;
    out.k = root == 0 ? 0 : -product * slope / count;
  }

  // d_x of one tile.
  void leave(int64_t t, int64_t c) const {
    const TokenFactors& factors = s.factors[t];
    const int64_t left = p.sizes.width - c;
    F y = load(s.d_y + t * pitch_ + c), k = set(factors.k);
    for (int i = 0; i < n; ++i) {
      F x = load(s.x + (t * n + i) * pitch_ + c);
      store(s.x_tile + (t * n + i) * W, x);
      F value = fma(k, x, set(factors.weight[i]) * y) + load(s.product + (t * n + i) * W);
      X* d_x = p.d_x.at<X>(first_ + t, i) + c;
      if (p.accumulate_inputs) value = load_upto(d_x, left) + value;
      store_upto(d_x, value, left);
    }
  }

  const HeadBackwardProblem& p;
  const HeadAffine& affine;
  const Shared& shared;
  const Scratch<X, H>& s;
  const int64_t first_, tokens_;
  const int n;
  const int64_t pitch_;
  const Tiles tiles_;
};

void scale_and_bias(const HeadBackwardProblem& p, const float* d_logits) {
  const int n = p.sizes.streams;
  double scale = 0, bias[kMaxStreams] = {};
  for (int64_t t = 0; t < p.sizes.tokens; ++t) {
    for (int i = 0; i < n; ++i) {
      double d_logit = d_logits[t * n + i];
      bias[i] += d_logit;
      if (p.d_scale) scale += d_logit * load1(p.mix.at<float>(t, i));
    }
  }
  auto put = [&](float* out, double value) {
    store1(out, static_cast<float>(p.accumulate_parameters ? load1(out) + value : value));
  };
  if (p.d_scale) put(p.d_scale.at<float>(), scale);
  if (!p.d_bias) return;
  for (int i = 0; i < n; ++i) put(p.d_bias.at<float>(i), bias[i]);
}

template <class X, class H, int N>
void weighted(const HeadBackwardProblem& p, const Job& job) {
  const HeadAffine affine(p.scale, p.bias, p.sizes.streams);
  const Cut cut(p);
  const Shared shared(p, cut, job.shared);
  const ParameterViews parameters{p.projection, {}, {}, {}};
  if (cut.slabs > 0) to_tiles(parameters, p.sizes, job.pool, shared.projection);
  job.pool.parallel(cut.slabs, [&](int worker, int64_t slab) {
    const Scratch<X, H> scratch(p, cut, job.scratch(worker));
    const int64_t begin = slab * cut.slab, end = std::min(p.sizes.tokens, begin + cut.slab);
    float* part = p.d_projection ? shared.slab_tiles + slab * shared.step : nullptr;
    for (int64_t t = begin; t < end; t += cut.block) {
      Block<X, H, N>(p, affine, shared, scratch, t, std::min(cut.block, end - t)).run(part, t == begin);
    }
  });
  if (p.d_projection && (p.sizes.tokens > 0 || !p.accumulate_parameters)) {
    from_tiles(parameters, {p.d_projection, {}, {}, {}}, p.sizes, p.accumulate_parameters, shared.slab_tiles,
               shared.step, cut.slabs, job.pool);
  }
  if (p.d_scale || p.d_bias) scale_and_bias(p, shared.d_logit);
}

template <class X, class H>
void constant(const HeadBackwardProblem& p, const Job& job) {
  const F weight = set(constant_head_weight(p.kind, p.sizes.streams));
  const int64_t width = p.sizes.width;
  const bool accumulate = p.accumulate_inputs, past_caches = !accumulate && larger_than_caches(p.d_x);
  for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int64_t c = 0; c < width; c += W) {
        F gradient = weight * load_upto(p.d_y.at<H>(t) + c, width - c);
        for (int i = 0; i < p.sizes.streams; ++i) {
          X* d_x = p.d_x.at<X>(t, i) + c;
          F value = accumulate ? load_upto(d_x, width - c) + gradient : gradient;
          put(d_x, value, width - c, past_caches);
        }
      }
    }
    stream_fence();
  });
}

}  // namespace

Space head_backward_space(const HeadBackwardProblem& p, int) {
  if (p.kind != MHC_HEAD_WEIGHTED) return {};
  const Cut cut(p);
  Space space;
  space.shared = Shared(p, cut, nullptr).bytes;
  with_row_types(p.x.type, p.d_y.type, [&](auto x, auto y) {
    space.per_thread = Scratch<typename decltype(x)::type, typename decltype(y)::type>(p, cut, nullptr).bytes;
  });
  return space;
}

void head_backward(const HeadBackwardProblem& p, const Job& job) {
  with_row_types(p.d_x.type, p.d_y.type, [&](auto x, auto y) {
    using X = typename decltype(x)::type;
    using H = typename decltype(y)::type;
    if (p.kind != MHC_HEAD_WEIGHTED) return constant<X, H>(p, job);
    with_streams(p.sizes.streams, [&](auto streams) { weighted<X, H, streams>(p, job); });
  });
}

}  // namespace mhc::cpu::MHC_TIER
