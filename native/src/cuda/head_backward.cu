// SPDX-License-Identifier: Apache-2.0
// With w the weights, s = sigmoid, r the RMS, g[j] = d_mix[j] / r, where d_mix[j] = scale * s'(logit[j]) * <x[j], d_y>:
//   d_x          = w d_y + g . projection + k x,  k from the derivative of 1/r
//   d_projection = sum over tokens of g x
// g needs sums over a whole row, so rows are met twice: a token to a block for g, then a slab of tokens and 512 channels
// of all streams to a block, where a thread has eight channels of one stream: its part of the projection and of its
// gradient stay in registers.
#include "cuda/head.h"
#include "cuda/slabs.h"
#include "cuda/sums.h"
#include "lanes/rms.h"

namespace mhc::cuda {
namespace {

constexpr int kPieces = 64;  // of a block, side by side

struct Arguments {
  int64_t tokens, width, slab, column_blocks;
  int streams;
  bool aligned, projection_aligned, parts_aligned, accumulate;
  int32_t rms_eps_mode;
  float pre_eps;
  HeadAffine affine;
  Array<const float> projection, mix, inv_rms;
  float *weight, *g, *d_logit;  // [T][n]
  float* k;                     // [T]
  float* parts;                 // of d_projection: [slab][n][n * width], or nullptr
};

// w, g, k and d_logit of a token from <x[i], d_y> and the sum of squares. Rows are read again soon.
template <class X, class H, int N>
MHC_KERNEL(kThreads) factors_kernel(const Arguments a, const Array<const X> x, const Array<const H> d_y) {
  const int n = N == kAnyStreams ? a.streams : N;
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  OverBlock<kRoom<N> + 1> over_block(reinterpret_cast<float*>(shared_memory()));
  for (int64_t token = block_index(); token < a.tokens; token += block_count()) {
    float sum[kRoom<N> + 1] = {};  // the squares last
    for (int64_t p = thread_index(); p < pieces; p += kThreads) {
      const int64_t c = p * kPiece, left = a.width - c;
      const Piece<H> y = load_piece(d_y.at(token, c), left, a.aligned, Use::Again);
      repeat<N>(n, [&](auto i) MHC_INLINE {
        const Piece<X> in = load_piece(x.at(token, i, c), left, a.aligned, Use::Again);
#pragma unroll
        for (int e = 0; e < kPiece; ++e) {
          sum[i] = fmaf(in[e], y[e], sum[i]);
          sum[kRoom<N>] = fmaf(in[e], in[e], sum[kRoom<N>]);
        }
      });
    }
    over_block.put(sum);
    if (thread_index() != 0) continue;
    const float scale = load1(a.affine.scale.at()), inv_rms = load1(a.inv_rms.at(token));
    float product = 0.0f;
    repeat<N>(n, [&](auto i) MHC_INLINE {
      const float mix = load1(a.mix.at(token, i));
      const F logit = a.affine.logit(mix, i);
      const float d_logit = sigmoid_slope(logit).v * over_block.total(i), d_mix = scale * d_logit;
      product += d_mix * mix;
      store1(a.weight + token * n + i, sigmoid(logit).v + a.pre_eps);
      store1(a.d_logit + token * n + i, d_logit);
      store1(a.g + token * n + i, d_mix * inv_rms);
    });
    // d(1/r)/dx is -x / r^2 / (nC * root of the mean square); inside, 1/r is that root's inverse.
    const float count = static_cast<float>(n * a.width), root = sqrtf(over_block.total(kRoom<N>) / count);
    const float slope = a.rms_eps_mode == MHC_RMS_EPS_INSIDE ? inv_rms * inv_rms : inv_rms / root;
    store1(a.k + token, root == 0.0f ? 0.0f : -product * slope / count);
  }
}

// Tokens come in batches of n, so that each thread of a block fetches one piece of d_y for all.
template <class X, class H, int N>
MHC_KERNEL(kPieces * kRoom<N>) apply_kernel(const Arguments a, const Array<const X> x, const Array<const H> d_y, const Array<X> d_x) {
  const int n = N == kAnyStreams ? a.streams : N;
  const int stream = thread_index() / kPieces, place = thread_index() % kPieces;
  const int64_t slab = block_index() / a.column_blocks;
  const int64_t c = (block_index() % a.column_blocks * kPieces + place) * kPiece, left = a.width - c;
  Piece<H>* shared = reinterpret_cast<Piece<H>*>(shared_memory());  // [2][token of the batch][piece]

  Piece<float> projection[kRoom<N>];
  float gathered[kRoom<N>][kPiece];
  repeat<N>(n, [&](auto j) MHC_INLINE {
    projection[j] = load_piece(a.projection.at(j) + stream * a.width + c, left, a.projection_aligned, Use::Again);
#pragma unroll
    for (int e = 0; e < kPiece; ++e) gathered[j][e] = 0.0f;
  });

  const int64_t end = (slab + 1) * a.slab < a.tokens ? (slab + 1) * a.slab : a.tokens;
  int turn = 0;
  for (int64_t first = slab * a.slab; first < end; first += n, turn ^= 1) {
    const int tokens = static_cast<int>(end - first < n ? end - first : n);
    Piece<H>* batch = shared + turn * n * kPieces;
    if (stream < tokens) batch[thread_index()] = load_piece(d_y.at(first + stream, c), left, a.aligned);
    Piece<X> in[kRoom<N>];
    repeat<N>(n, [&](auto t) MHC_INLINE {
      if (t < tokens) in[t] = load_piece(x.at(first + t, stream, c), left, a.aligned);
    });
    sync_block();
    repeat<N>(n, [&](auto t) MHC_INLINE {
      if (t >= tokens) return;
      const int64_t token = first + t;
      const Piece<H> y = batch[t * kPieces + place];
      const float weight = load1(a.weight + token * n + stream), k = load1(a.k + token);
      float product[kPiece] = {};
      repeat<N>(n, [&](auto j) MHC_INLINE {
        const float g = load1(a.g + token * n + j);
#pragma unroll
        for (int e = 0; e < kPiece; ++e) {
          product[e] = fmaf(g, projection[j][e], product[e]);
          gathered[j][e] = fmaf(g, in[t][e], gathered[j][e]);
        }
      });
      Piece<X> before;
      if (a.accumulate) before = load_piece(d_x.at(token, stream, c), left, a.aligned);
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = fmaf(k, in[t][e], weight * y[e]) + product[e];
        if (a.accumulate) out[e] = before[e] + out[e];
      }
      store_values(d_x.at(token, stream, c), out, left, a.aligned);
    });
  }
  if (!a.parts) return;
  repeat<N>(n, [&](auto j) MHC_INLINE {
    store_values(a.parts + ((slab * n + j) * n + stream) * a.width + c, gathered[j], left, a.parts_aligned, Use::Again);
  });
}

// d_bias of stream block_index(); the last block has d_scale. In double precision, as the sums may cancel.
MHC_KERNEL(kThreads) scale_and_bias_kernel(const int64_t tokens, const int n, const float* d_logit, const Array<const float> mix,
                                           const Array<float> d_scale, const Array<float> d_bias, const bool accumulate) {
  double* sums = reinterpret_cast<double*>(shared_memory());
  const int i = static_cast<int>(block_index());
  double sum = 0.0;
  for (int64_t t = thread_index(); t < tokens; t += kThreads) {
    if (i < n) {
      sum += load1(d_logit + t * n + i);
      continue;
    }
    for (int j = 0; j < n; ++j) sum += static_cast<double>(load1(d_logit + t * n + j)) * load1(mix.at(t, j));
  }
  sums[thread_index()] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    sync_block();
    if (thread_index() < half) sums[thread_index()] += sums[thread_index() + half];
  }
  float* at = i == n ? d_scale.at() : d_bias ? d_bias.at(i) : nullptr;
  if (thread_index() != 0 || !at) return;
  store1(at, static_cast<float>(accumulate ? load1(at) + sums[0] : sums[0]));
}

template <class X, class H>
MHC_KERNEL(kThreads) constant_kernel(const Arguments a, const float weight, const Array<const H> d_y, const Array<X> d_x) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    const Piece<H> y = load_piece(d_y.at(token, c), left, a.aligned);
    for (int i = 0; i < a.streams; ++i) {
      Piece<X> before;
      if (a.accumulate) before = load_piece(d_x.at(token, i, c), left, a.aligned);
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = weight * y[e];
        if (a.accumulate) out[e] = before[e] + out[e];
      }
      store_values(d_x.at(token, i, c), out, left, a.aligned);
    }
  });
}

Slabs slabs_of(const HeadBackwardProblem& p) { return Slabs(p.sizes.tokens, 16, 64); }

// The workspace; gives a its places in it.
size_t lay_out(const HeadBackwardProblem& p, char* base, Arguments* a) {
  const int64_t n = p.sizes.streams, tokens = p.sizes.tokens;
  Pieces pieces(base);
  a->weight = pieces.take<float>(tokens * n);
  a->g = pieces.take<float>(tokens * n);
  a->d_logit = pieces.take<float>(tokens * n);
  a->k = pieces.take<float>(tokens);
  a->parts = p.d_projection ? pieces.take<float>(slabs_of(p).count * n * n * p.sizes.width) : nullptr;
  return pieces.used();
}

void scale_and_bias(const HeadBackwardProblem& p, const Arguments& a, Job& job) {
  if (!p.d_scale && !p.d_bias) return;
  job.launch({a.streams + 1, kThreads, kThreads * sizeof(double)}, scale_and_bias_kernel, a.tokens, a.streams, a.d_logit, a.mix,
             Array<float>(p.d_scale), Array<float>(p.d_bias), p.accumulate_parameters);
}

}  // namespace

size_t head_backward_space(const HeadBackwardProblem& p, const DeviceProperties&) {
  Arguments a = {};
  return p.kind == MHC_HEAD_WEIGHTED ? lay_out(p, nullptr, &a) : 0;
}

void head_backward(const HeadBackwardProblem& p, Job& job) {
  Arguments a = {};
  a.tokens = p.sizes.tokens;
  a.width = p.sizes.width;
  a.streams = p.sizes.streams;
  a.accumulate = p.accumulate_inputs;
  a.aligned = rows_aligned(p.d_y) && rows_aligned(p.d_x) && (p.kind != MHC_HEAD_WEIGHTED || rows_aligned(p.x));
  a.projection_aligned = rows_aligned(p.projection) && a.width % 4 == 0;
  a.parts_aligned = a.width % 4 == 0;
  a.rms_eps_mode = p.config.rms_eps_mode;
  a.pre_eps = p.config.pre_eps;
  a.affine = {Array<const float>(p.scale), Array<const float>(p.bias)};
  a.projection = Array<const float>(p.projection);
  a.mix = Array<const float>(p.mix);
  a.inv_rms = Array<const float>(p.inv_rms);
  const Slabs slabs = slabs_of(p);
  a.slab = slabs.size;
  a.column_blocks = (pieces_of(a.width) + kPieces - 1) / kPieces;
  if (p.kind == MHC_HEAD_WEIGHTED) lay_out(p, job.workspace, &a);
  with_row_types(p.d_x.type, p.d_y.type, [&](auto x, auto y) {
    using X = decltype(x);
    using H = decltype(y);
    if (p.kind != MHC_HEAD_WEIGHTED) {
      return job.launch(share(a.tokens * pieces_of(a.width), job.device), constant_kernel<X, H>, a,
                        constant_head_weight(p.kind, a.streams), Array<const H>(p.d_y), Array<X>(p.d_x));
    }
    with_streams(p.sizes.streams, [&](auto n) {
      const int64_t most = int64_t{8} * job.device.multiprocessors;
      job.launch({a.tokens < most ? a.tokens : most, kThreads, sizeof(float) * OverBlock<kRoom<n> + 1>::floats(kThreads)},
                 factors_kernel<X, H, n>, a, Array<const X>(p.x), Array<const H>(p.d_y));
      job.launch({slabs.count * a.column_blocks, kPieces * a.streams, size_t{2} * kPieces * a.streams * sizeof(Piece<H>)},
                 apply_kernel<X, H, n>, a, Array<const X>(p.x), Array<const H>(p.d_y), Array<X>(p.d_x));
    });
  });
  if (p.kind != MHC_HEAD_WEIGHTED) return;
  if (p.d_projection) sum_slabs(a.parts, a.streams * a.streams * a.width, slabs.count, p.d_projection, p.accumulate_parameters, job);
  scale_and_bias(p, a, job);
}

}  // namespace mhc::cuda
