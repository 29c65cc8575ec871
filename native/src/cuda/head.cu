// SPDX-License-Identifier: Apache-2.0
// MHC_HEAD_WEIGHTED: a few tokens to a block, so that what is read of the projection, from L2, serves all of them. Their
// rows stay in shared memory from the scan to the weighted sum.
#include "cuda/head.h"

#include "cuda/mixes.h"
#include "cuda/sums.h"
#include "lanes/rms.h"

namespace mhc::cuda {
namespace {

constexpr int kBlockThreads = 512, kMostTokens = 4;
constexpr int kAtOnce = 4, kValues = kAtOnce + 1;  // outputs in registers, and the sum of squares

struct Arguments {
  int64_t tokens, width;
  int streams, tile;  // tokens of a block
  bool aligned, projection_aligned;
  bool kept;  // rows have room in shared memory
  int32_t rms_eps_mode;
  float rms_eps, pre_eps;
  HeadAffine affine;
  Array<const float> projection;
  Array<float> mix, inv_rms;
};

using Sums = OverBlock<kMostTokens * kValues>;

template <class X>
struct Shared {
  float *sums, *weight, *inv_rms;  // weight is mix at first: [token][stream]
  Piece<X>* rows;                  // [token][stream][piece]

  static constexpr int kFloats = Sums::floats(kBlockThreads) + kMostTokens * (kMaxStreams + 4);
  static size_t bytes(int tile, int64_t pieces) { return kFloats * sizeof(float) + static_cast<size_t>(tile * pieces) * sizeof(Piece<X>); }
  MHC_FN Shared() {
    sums = reinterpret_cast<float*>(shared_memory());
    weight = sums + Sums::floats(kBlockThreads);
    inv_rms = weight + kMostTokens * kMaxStreams;
    rows = reinterpret_cast<Piece<X>*>(shared_memory() + kFloats * sizeof(float));
  }
};

// Outputs first ... first + kAtOnce - 1 of the tile's tokens, and with the first of them the squares, to shared memory.
template <class X>
MHC_FN void scan(const Arguments& a, const Array<const X>& x, const Shared<X>& s, Sums& over_block, int64_t token, int tokens, int first) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece, of_row = a.streams * pieces;
  float sum[kMostTokens * kValues] = {};
  for (int64_t q = thread_index(); q < of_row; q += kBlockThreads) {
    const int64_t stream = q / pieces, c = q % pieces * kPiece, left = a.width - c;
    Piece<X> in[kMostTokens];
#pragma unroll
    for (int t = 0; t < kMostTokens; ++t) {
      if (t >= tokens) {
        in[t].clear();
      } else if (first > 0 && a.kept) {
        in[t] = s.rows[t * of_row + q];
      } else {
        in[t] = load_piece(x.at(token + t, stream, c), left, a.aligned, Use::Again);
        if (a.kept) s.rows[t * of_row + q] = in[t];
      }
    }
#pragma unroll
    for (int o = 0; o < kAtOnce; ++o) {
      if (first + o >= a.streams) continue;
      const Piece<float> row = load_piece(a.projection.at(first + o) + stream * a.width + c, left, a.projection_aligned, Use::Again);
#pragma unroll
      for (int t = 0; t < kMostTokens; ++t) {
#pragma unroll
        for (int e = 0; e < kPiece; ++e) sum[t * kValues + o] = fmaf(in[t][e], row[e], sum[t * kValues + o]);
      }
    }
    if (first > 0) continue;
#pragma unroll
    for (int t = 0; t < kMostTokens; ++t) {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) sum[t * kValues + kAtOnce] = fmaf(in[t][e], in[t][e], sum[t * kValues + kAtOnce]);
    }
  }
  over_block.put(sum);
  const int t = thread_index() / kValues, o = thread_index() % kValues;
  if (t >= tokens) return;
  const float total = over_block.total(thread_index());
  if (o < kAtOnce && first + o < a.streams) s.weight[t * kMaxStreams + first + o] = total;
  if (o == kAtOnce && first == 0) s.inv_rms[t] = inv_rms_of(total, a.streams * a.width, a.rms_eps_mode, a.rms_eps);
}

template <class X, class H, int N>
MHC_KERNEL(kBlockThreads) weighted_kernel(const Arguments a, const Array<const X> x, const Array<H> y) {
  const int n = N == kAnyStreams ? a.streams : N;
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  const Shared<X> s;
  Sums over_block(s.sums);
  for (int64_t token = block_index() * a.tile; token < a.tokens; token += block_count() * a.tile) {
    const int tokens = static_cast<int>(a.tokens - token < a.tile ? a.tokens - token : a.tile);
    for (int first = 0; first < n; first += kAtOnce) scan(a, x, s, over_block, token, tokens, first);
    sync_block();
    const int t = thread_index() / kMaxStreams, i = thread_index() % kMaxStreams;
    if (t < tokens && i < n) {
      const float mix = s.weight[thread_index()] * s.inv_rms[t];
      if (a.mix) store1(a.mix.at(token + t, i), mix);
      if (a.inv_rms && i == 0) store1(a.inv_rms.at(token + t), s.inv_rms[t]);
      s.weight[thread_index()] = sigmoid(a.affine.logit(mix, i)).v + a.pre_eps;
    }
    sync_block();
    for (int64_t q = thread_index(); q < tokens * pieces; q += kBlockThreads) {
      const int64_t of = q / pieces, p = q % pieces, c = p * kPiece, left = a.width - c;
      Piece<X> in[kRoom<N>];
      repeat<N>(n, [&](auto j) MHC_INLINE {
        in[j] = a.kept ? s.rows[(of * n + j) * pieces + p] : load_piece(x.at(token + of, j, c), left, a.aligned);
      });
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = pre_value<N>([&](auto j) MHC_INLINE { return s.weight[of * kMaxStreams + j]; },
                              [&](auto j) MHC_INLINE { return in[j][e]; }, n);
      }
      store_values(y.at(token + of, c), out, left, a.aligned);
    }
    sync_block();
  }
}

template <class X, class H, int N>
MHC_KERNEL(kThreads) constant_kernel(const Arguments a, const float weight, const Array<const X> x, const Array<H> y) {
  const int64_t pieces = (a.width + kPiece - 1) / kPiece;
  for_each_of(a.tokens * pieces, [&](int64_t index) {
    const int64_t token = index / pieces, c = index % pieces * kPiece, left = a.width - c;
    const int n = N == kAnyStreams ? a.streams : N;
    Piece<X> in[kRoom<N>];
    repeat<N>(n, [&](auto i) MHC_INLINE { in[i] = load_piece(x.at(token, i, c), left, a.aligned); });
    float out[kPiece];
#pragma unroll
    for (int e = 0; e < kPiece; ++e) {
      out[e] = pre_value<N>([&](auto) MHC_INLINE { return weight; }, [&](auto i) MHC_INLINE { return in[i][e]; }, n);
    }
    store_values(y.at(token, c), out, left, a.aligned);
  });
}

// As many tokens to a block as have room; a wide row stays in memory.
template <class X>
Grid grid_of(Arguments& a, const DeviceProperties& device) {
  const int64_t of_row = a.streams * pieces_of(a.width);
  for (a.tile = kMostTokens; a.tile > 1 && Shared<X>::bytes(a.tile, of_row) > device.shared_bytes;) a.tile /= 2;
  a.kept = Shared<X>::bytes(a.tile, of_row) <= device.shared_bytes;
  if (!a.kept) a.tile = kMostTokens;
  const int64_t tiles = (a.tokens + a.tile - 1) / a.tile, most = int64_t{4} * device.multiprocessors;
  return {tiles < most ? tiles : most, kBlockThreads, Shared<X>::bytes(a.kept ? a.tile : 0, of_row)};
}

}  // namespace

size_t head_space(const HeadProblem&, const DeviceProperties&) { return 0; }

void head(const HeadProblem& p, Job& job) {
  Arguments a{p.sizes.tokens, p.sizes.width, p.sizes.streams, 0, rows_aligned(p.x) && rows_aligned(p.y),
              rows_aligned(p.projection) && p.sizes.width % 4 == 0, false, p.config.rms_eps_mode, p.config.rms_eps, p.config.pre_eps,
              {Array<const float>(p.scale), Array<const float>(p.bias)}, Array<const float>(p.projection), Array<float>(p.mix),
              Array<float>(p.inv_rms)};
  with_row_types(p.x.type, p.y.type, [&](auto x, auto y) {
    using X = decltype(x);
    using H = decltype(y);
    with_streams(p.sizes.streams, [&](auto n) {
      if (p.kind == MHC_HEAD_WEIGHTED) {
        const Grid grid = grid_of<X>(a, job.device);
        job.launch(grid, weighted_kernel<X, H, n>, a, Array<const X>(p.x), Array<H>(p.y));
      } else {
        job.launch(share(a.tokens * pieces_of(a.width), job.device), constant_kernel<X, H, n>, a,
                   constant_head_weight(p.kind, a.streams), Array<const X>(p.x), Array<H>(p.y));
      }
    });
  });
}

}  // namespace mhc::cuda
