// SPDX-License-Identifier: Apache-2.0
// The pieces of a pass over a block of tokens, whose rows stay in scratch from the first piece to the last:
//   enter   x (and post with f) into scratch, x_next out to memory, sums of squares on the way
//   mix     x . projection^T / r for the block
//   settle  coefficients from mix, W tokens at a time
//   leave   h from scratch, then RMSNorm and FP8
// coefficients, boundary and recompute are made of them, and so give the same bits.
#pragma once

#include "cpu/activate.h"
#include "cpu/fp8.h"
#include "cpu/past_caches.h"
#include "cpu/post.h"
#include "cpu/pre.h"
#include "cpu/project.h"
#include "lanes/rms.h"
#include "cpu/rmsnorm.h"
#include "cpu/vec_pair.h"

namespace mhc::cpu::MHC_TIER {

constexpr int64_t kScratchBytes = 384 << 10;  // of rows in a block: with what streams past them they fit a 1 MiB L2
constexpr int64_t kMaxBlock = 32;

inline bool has_product(const mhc_config& config) { return config.mode != MHC_MODE_RESIDUAL && !config.is_static; }

// Tokens of a block: as many rows as scratch holds, or fewer, so that each thread has as much to do.
inline int64_t block_of(const Sizes& sizes, size_t element, int threads) {
  int64_t row = sizes.streams * sizes.width * static_cast<int64_t>(element);
  int64_t fit = std::clamp<int64_t>(kScratchBytes / row, kTokens, kMaxBlock) / kTokens * kTokens;
  int64_t share = std::max<int64_t>(1, (sizes.tokens + threads - 1) / threads), blocks = (share + fit - 1) / fit;
  int64_t even = (share + blocks - 1) / blocks;
  return std::max<int64_t>(kTokens, (even + kTokens - 1) / kTokens * kTokens);
}

// One thread's scratch, in the order of its fields.
template <class X>
struct PassScratch {
  Rows<X> rows;
  F* sums;             // [block][m], see sum_at()
  F* lanes;            // mix, pre, post, res of W tokens
  F* activation;
  float* mix;          // [block][m]
  float* inv_rms;      // [block]
  float* pre;          // [block][n], what h uses
  char* layer_row;     // one row of h, one of y; before that, one of f
  size_t layer_row_bytes;

  static size_t lanes_of(const Sizes& s) {
    return static_cast<size_t>(s.mix_count + 2 * s.streams + s.streams * s.streams);
  }

  // With base nullptr only the size is worked out.
  size_t lay_out(char* base, const Sizes& s, const mhc_config& config, int64_t block) {
    size_t used = 0;
    auto take = [&](size_t bytes) {
      char* at = base ? base + used : nullptr;
      used += (bytes + 63) / 64 * 64;
      return at;
    };
    int64_t pitch = Rows<X>::pitch_of(s.width);
    size_t m = static_cast<size_t>(s.mix_count), b = static_cast<size_t>(block), n = static_cast<size_t>(s.streams);
    rows = {reinterpret_cast<X*>(take(b * n * static_cast<size_t>(pitch) * sizeof(X))), s.streams, s.width, pitch};
    sums = reinterpret_cast<F*>(take(b * m * sizeof(F)));
    lanes = reinterpret_cast<F*>(take(lanes_of(s) * sizeof(F)));
    activation = reinterpret_cast<F*>(take(activate_vectors(config) * sizeof(F)));
    mix = reinterpret_cast<float*>(take(b * m * sizeof(float)));
    inv_rms = reinterpret_cast<float*>(take(b * sizeof(float)));
    pre = reinterpret_cast<float*>(take(b * n * sizeof(float)));
    layer_row_bytes = static_cast<size_t>(pitch) * sizeof(float);
    layer_row = take(2 * layer_row_bytes);
    return used;
  }
};

// Packing reads and writes the projection once, which many tokens repay.
constexpr int64_t kPackTokens = 256;

inline bool packs(const ParameterViews& parameters, const Sizes& s) {
  return parameters.projection && (s.tokens >= kPackTokens || parameters.norm_weight);
}

inline size_t projection_space(const ParameterViews& parameters, const Sizes& s) {
  if (!packs(parameters, s)) return 0;
  return static_cast<size_t>(s.mix_count * s.streams * whole_vectors(s.width)) * sizeof(float);
}

// The caller's projection; or a packed copy in shared workspace, times norm_weight where that is given.
inline Projection prepare_projection(const ParameterViews& parameters, const Sizes& s, const Job& job) {
  const View& rows = parameters.projection;
  if (!rows) return {};
  if (!packs(parameters, s)) return {rows.at<float>(), rows.stride[0], false};
  float* base = reinterpret_cast<float*>(job.shared);
  const Projection packed{base, 0, true};
  const int64_t chunk = chunk_of(s.width), chunks = (s.width + chunk - 1) / chunk;
  job.pool.parallel(s.streams * chunks, [&](int, int64_t index) {
    const int i = static_cast<int>(index / chunks);
    const int64_t channel = index % chunks * chunk, count = std::min(chunk, s.width - channel);
    const float* weight = parameters.norm_weight ? parameters.norm_weight.at<float>() + i * s.width + channel : nullptr;
    for_outputs(s.mix_count, [&](int64_t first, int outputs) {
      const Weights to = packed.at(s.width, s.mix_count, i, channel, first, outputs, count);
      float* at = base + (to.data - base);
      for (int o = 0; o < outputs; ++o) {
        const float* row = rows.at<float>(first + o) + i * s.width + channel;
        for (int64_t c = 0; c < count; c += W) {
          F value = load_upto(row + c, count - c);
          if (weight) value = value * load_upto(weight + c, count - c);
          store(at + o * to.output_step + c / W * to.vector_step, value);
        }
      }
    });
  });
  return packed;
}

// Scale and bias, gathered once a call; the widest mix there is has 16*16 + 2*16 rows.
struct Affine {
  float scale[3];
  float bias[288];

  void load(const ParameterViews& parameters, int64_t mix_count) {
    if (parameters.scale) {
      for (int k = 0; k < 3; ++k) scale[k] = load1(parameters.scale.at<float>(k));
    }
    if (parameters.bias) {
      for (int64_t k = 0; k < mix_count; ++k) bias[k] = load1(parameters.bias.at<float>(k));
    }
  }
};

// Where a row comes from: x, and with f a post.
struct Entry {
  View x, f, f_scale, post_mix, res_mix;
  int32_t orientation;
  View x_next;       // optional
  bool past_caches;  // x_next is too large to be found there again
};

enum class XNext { None, Stored, Streamed };

// Takes one token's residual to rows slot; its sum of squares comes back. x_token is its index in entry.x.
template <class X, int N, XNext kNext, class H>
float enter_after_post(const Entry& entry, const H* f, int64_t x_token, int64_t token, const Rows<X>& rows, int64_t slot) {
  const int n = N == kAnyStreams ? rows.streams : N;
  constexpr int kStreams = N == kAnyStreams ? kMaxStreams : N;
  PostMix mix;
  mix.load(entry.post_mix, entry.res_mix, entry.orientation, token, n);
  const X* in[kStreams];
  X *row[kStreams], *out[kStreams];
  F squares[kStreams];
  for (int i = 0; i < n; ++i) {
    in[i] = entry.x.at<X>(x_token, i);
    row[i] = rows.at(slot, i);
    out[i] = kNext == XNext::None ? nullptr : entry.x_next.at<X>(token, i);
    squares[i] = zero();
  }
  const X* const next_x = in[0] + entry.x.stride[0];
  const H* const next_f = entry.f_scale ? f : f + entry.f.stride[0];
  if constexpr (kNext == XNext::Streamed) {  // a line of each row to come, so that its page is translated by then
    for (int i = 0; i < n; ++i) prefetch(out[i] + entry.x_next.stride[0]);
    for (int i = 0; i < n; ++i) prefetch(in[i] + 2 * entry.x.stride[0]);
  }
  int64_t c = 0;
  for (; c + 2 * W <= rows.width; c += 2 * W) {
    // The next token's rows come nearer meanwhile: what the hardware foresees ends with a page, which is a row or less.
    for (int i = 0; i < n; ++i) prefetch_pair(next_x + i * entry.x.stride[1] + c);
    prefetch_pair(next_f + c);
    F x[2][kStreams];
    for (int i = 0; i < n; ++i) {
      const Pair pair = Pairs<X>::load(in[i] + c);
      x[0][i] = pair.first, x[1][i] = pair.second;
    }
    const Pair layer = Pairs<X>::load(f + c);
    for (int o = 0; o < n; ++o) {
      const auto packed =
          Pairs<X>::pack({post_value<N>(mix, o, x[0], layer.first, n), post_value<N>(mix, o, x[1], layer.second, n)});
      const Pair next = Pairs<X>::unpack(packed);
      squares[o] = fma(next.second, next.second, fma(next.first, next.first, squares[o]));
      Pairs<X>::store(row[o] + c, packed);
      if constexpr (kNext == XNext::Streamed) Pairs<X>::stream(out[o] + c, packed);
      if constexpr (kNext == XNext::Stored) Pairs<X>::store(out[o] + c, packed);
    }
  }
  for (; c < rows.width; c += W) {
    const int64_t left = rows.width - c;
    F x[kStreams], layer = load_upto(f + c, left);
    for (int i = 0; i < n; ++i) x[i] = load_upto(in[i] + c, left);
    for (int o = 0; o < n; ++o) {
      Packed<X> packed = pack<X>(post_value<N>(mix, o, x, layer, n));
      F next = unpack(packed);
      squares[o] = fma(next, next, squares[o]);
      store(row[o] + c, packed);
      if constexpr (kNext != XNext::None) store_upto(out[o] + c, next, left);
    }
  }
  F total = squares[0];
  for (int i = 1; i < n; ++i) total = total + squares[i];
  return sum(total);
}

// The same where there is no post: the bits of x as they are, since a conversion may lose subnormal numbers.
template <class X>
float enter_as_it_is(const Entry& entry, int64_t x_token, int64_t token, const Rows<X>& rows, int64_t slot) {
  F total = zero();
  for (int i = 0; i < rows.streams; ++i) {
    const X* in = entry.x.at<X>(x_token, i);
    X* row = rows.at(slot, i);
    X* out = entry.x_next ? entry.x_next.at<X>(token, i) : nullptr;
    F squares = zero();
    int64_t c = 0;
    for (; c + 2 * W <= rows.width; c += 2 * W) {
      prefetch_pair(in + entry.x.stride[0] + c);  // the next token's
      const auto packed = Pairs<X>::load_packed(in + c);
      const Pair value = Pairs<X>::unpack(packed);
      squares = fma(value.second, value.second, fma(value.first, value.first, squares));
      Pairs<X>::store(row + c, packed);
      if (out) Pairs<X>::store(out + c, packed);
    }
    for (; c + W <= rows.width; c += W) {
      Packed<X> packed = load_packed(in + c);
      F value = unpack(packed);
      squares = fma(value, value, squares);
      store(row + c, packed);
      if (out) store(out + c, packed);
    }
    if (int left = static_cast<int>(rows.width - c); left > 0) {
      copy(in + c, row + c, left);
      F value = load(row + c);
      squares = fma(value, value, squares);
      for (int k = 0; out && k < left; ++k) store1(out + c + k, row[c + k]);
    }
    total = total + squares;
  }
  return sum(total);
}

template <class X, int N, class H>
float enter_with(const H* f, const Entry& entry, int64_t x_token, int64_t token, const Rows<X>& rows, int64_t slot) {
  if (!entry.x_next) return enter_after_post<X, N, XNext::None>(entry, f, x_token, token, rows, slot);
  return entry.past_caches ? enter_after_post<X, N, XNext::Streamed>(entry, f, x_token, token, rows, slot)
                           : enter_after_post<X, N, XNext::Stored>(entry, f, x_token, token, rows, slot);
}

// f that is FP8 becomes a row of floats in scratch first, where h's will be.
template <class X, class H, int N>
float enter(const Entry& entry, int64_t x_token, int64_t token, const PassScratch<X>& s, int64_t slot) {
  if (!entry.f) return enter_as_it_is(entry, x_token, token, s.rows, slot);
  if (!entry.f_scale) return enter_with<X, N>(entry.f.at<H>(token), entry, x_token, token, s.rows, slot);
  float* f = reinterpret_cast<float*>(s.layer_row);
  fp8_dequantize_row(entry.f.at<e4m3>(token), entry.f_scale, token, 0, s.rows.width, f);
  return enter_with<X, N>(f, entry, x_token, token, s.rows, slot);
}

// mix[t][m] = x . projection^T * inv_rms[t] for the block.
template <class X>
void make_mix(PassScratch<X>& s, int64_t tokens, const Projection& projection, int64_t m) {
  project(s.rows, tokens, projection, m, s.sums);
  for_outputs(m, [&](int64_t first, int outputs) {
    for (int64_t t = 0; t < tokens; ++t) {
      const F* sums = s.sums + sum_at(t, tokens, first, outputs);
      for (int o = 0; o < outputs; ++o) s.mix[t * m + first + o] = sum(sums[o]) * s.inv_rms[t];
    }
  });
}

// out of the block's tokens first ... first + tokens - 1; pre_mix stays in scratch too.
template <class X>
void settle(PassScratch<X>& s, const mhc_config& config, const Sizes& sizes, const Affine& affine,
            const CoefficientViews& out, int64_t first, int64_t tokens) {
  int n = sizes.streams;
  int64_t m = sizes.mix_count;
  F *mix = s.lanes, *pre = mix + m, *post = pre + n, *res = post + n;
  for (int64_t base = 0; base < tokens; base += W) {
    int count = static_cast<int>(std::min<int64_t>(W, tokens - base));
    if (has_product(config)) {
      float lane[W] = {};
      for (int64_t o = 0; o < m; ++o) {
        for (int t = 0; t < count; ++t) lane[t] = s.mix[(base + t) * m + o];
        mix[o] = load(lane);
      }
    }
    activate(config, affine.scale, affine.bias, mix, pre, post, res, s.activation);
    auto write = [&](const F* vectors, int rows, auto place) {
      for (int k = 0; k < rows; ++k) {
        float lane[W];
        store(lane, vectors[k]);
        for (int t = 0; t < count; ++t) place(base + t, k, lane[t]);
      }
    };
    write(pre, n, [&](int64_t t, int k, float value) {
      s.pre[t * n + k] = value;
      store1(out.pre_mix.at<float>(first + t, k), value);
    });
    write(post, n, [&](int64_t t, int k, float value) { store1(out.post_mix.at<float>(first + t, k), value); });
    write(res, n * n, [&](int64_t t, int k, float value) {
      store1(out.res_mix.at<float>(first + t, k / n, k % n), value);
    });
  }
  for (int64_t t = 0; t < tokens; ++t) {
    if (out.inv_rms) store1(out.inv_rms.at<float>(first + t), s.inv_rms[t]);
    if (out.mix) {
      for (int64_t o = 0; o < m; ++o) store1(out.mix.at<float>(first + t, o), s.mix[t * m + o]);
    }
  }
}

// What becomes of h.
struct Exit {
  View h, norm_weight, y, h_fp8, h_scale;
  float norm_eps;
  int32_t fp8_scale_rounding;
};

template <class X, class H, int N>
void leave(const Exit& exit, const PassScratch<X>& s, int64_t slot, int64_t token) {
  int n = N == kAnyStreams ? s.rows.streams : N;
  const float* pre = s.pre + slot * n;
  int64_t width = s.rows.width;
  H* h = reinterpret_cast<H*>(s.layer_row);
  bool more = exit.y || exit.h_fp8;  // h is read again, from scratch
  H* out = exit.h ? exit.h.at<H>(token) : nullptr;
  constexpr int kStreams = N == kAnyStreams ? kMaxStreams : N;
  int64_t c = 0;
  for (; c + 2 * W <= width; c += 2 * W) {
    F x[2][kStreams];
    for (int i = 0; i < n; ++i) {
      const Pair pair = Pairs<X>::load(s.rows.at(slot, i) + c);
      x[0][i] = pair.first, x[1][i] = pair.second;
    }
    const Pair value{pre_value<N>(pre, x[0], n), pre_value<N>(pre, x[1], n)};
    if (out) Pairs<X>::store(out + c, value);
    if (more) Pairs<X>::store(h + c, value);
  }
  for (; c < width; c += W) {
    F x[kStreams];
    for (int i = 0; i < n; ++i) x[i] = load_upto(s.rows.at(slot, i) + c, width - c);
    const F value = pre_value<N>(pre, x, n);
    if (out) store_upto(out + c, value, width - c);
    if (more) store(h + c, value);
  }
  if (!more) return;
  const H* result = h;
  if (exit.norm_weight) {
    H* y = exit.h_fp8 || !exit.y ? reinterpret_cast<H*>(s.layer_row + s.layer_row_bytes) : exit.y.at<H>(token);
    rmsnorm_row(h, exit.norm_weight.at<float>(), exit.norm_eps, y, width);
    if (exit.y && exit.h_fp8) {
      for (int64_t k = 0; k < width; k += W) {
        store_upto(exit.y.at<H>(token) + k, load_upto(y + k, width - k), width - k);
      }
    }
    result = y;
  }
  if (exit.h_fp8) {
    fp8_quantize_row(result, width, exit.h_fp8.at<uint8_t>(token),
                     exit.h_scale.data + token * exit.h_scale.stride[0] * static_cast<int64_t>(size_of(exit.h_scale.type)),
                     exit.h_scale.type, exit.h_scale.stride[1], exit.fp8_scale_rounding, kFp8AmaxFloor);
  }
}

// body(worker, first, last) for blocks of tokens, whose streamed stores are seen by the others afterwards.
template <class Body>
void for_blocks(Pool& pool, int64_t tokens, int64_t block, const Body& body) {
  for_token_blocks(pool, tokens, block, [&](int worker, int64_t first, int64_t last) {
    body(worker, first, last);
    stream_fence();
  });
}

// A whole pass over x.
struct Pass {
  const Sizes& sizes;
  const mhc_config& config;
  const ParameterViews& parameters;
  Entry entry;
  View shifted_pre_mix;
  CoefficientViews out;
  const Exit* exit;  // nullptr: coefficients only
};

Space pass_space(const Sizes& sizes, const mhc_config& config, const ParameterViews& parameters, DType type,
                 int threads);
void run_pass(const Pass& pass, DType layer_type, const Job& job);

}  // namespace mhc::cpu::MHC_TIER
