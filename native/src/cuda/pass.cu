// SPDX-License-Identifier: Apache-2.0
// A group of blocks shares a residual's width, a unit of 256 channels each, and goes through its tiles of 16 tokens
// together. In a block eight warps stream: a lane holds two tokens and eight channels of all four streams, in the very
// places where the tensor cores want their operands, so rows go from memory to x_next, to the product and to h without
// being laid out anew. Four more warps take turns with those of the other blocks to turn a tile's sums into coefficients.
//
//   stream      load tile k+1 | post, round, store x_next, keep it | product | sums of the unit to memory, arrive
//   coefficients              wait for all units of tile k, add them in order, activate, Sinkhorn, say ready
//   stream      with tile k - lag: wait for ready, h from what was kept; RMSNorm and FP8 a tile later, when all units'
//               sums of h are there
//
// Sums are taken in an order that depends on the width alone: a token's bits do not depend on the tile, the group or the
// number of multiprocessors. The projection's part of a unit stays in shared memory.
#include "cuda/fp8.h"
#include "cuda/layer_output.h"
#include "cuda/mixes.h"
#include "cuda/pass.h"
#include "cuda/tile_coefficients.h"

namespace mhc::cuda {
namespace {

using namespace tile;

constexpr int kBlockThreads = kStreamThreads + kCoefficientThreads;
enum BarrierId { kStreamBarrier = 1, kCoefficientBarrier = 2 };

struct Arguments {
  int64_t tokens, width;
  int tiles, units, groups;
  int kept;   // tiles of x_next in shared memory
  int lag;    // tiles between a scan and its h
  int slots;  // tiles whose sums are in memory at a time
  bool post, in_out, x_aligned, f_aligned, layer_aligned, fp8_aligned, shifted, h, norm, power_of_two;
  mhc_config config;
  ProjectionColumns projection;
  Array<const float> post_mix, res_mix, scale, bias, shifted_pre_mix, norm_weight;
  CoefficientArrays out;
  Array<uint8_t> h_fp8;
  ScaleTarget h_scale;
  float norm_eps;
  float* sums;     // [group][slot][unit][tile * values]
  float* squares;  // of h: [group][slot][unit][tile]
  uint32_t* counters;
};

// Shared memory, in order.
struct Shared {
  float* projection;  // [output][stream * unit]
  float* part;        // [warp][token][kPartPitch]
  float* mix;         // [token][kPartPitch]
  float* row;         // [warp][token]: sums of h^2, or largest magnitudes
  Bits16* kept;       // x_next: [kept][piece word][thread]
  Bits16* h;          // [2][piece word][thread]
  BulkBarrier* barrier;

  static constexpr size_t kFixed = sizeof(float) * (kProjectionSize + kPartsSize + kMixSize + kWarps * kTile) + sizeof(BulkBarrier);
  template <class X>
  static constexpr size_t kept_bytes() { return kRowWords<X> * sizeof(Bits16); }
  template <class H>
  static constexpr size_t h_bytes() { return size_t{2} * 2 * Piece<H>::kWords * kStreamThreads * sizeof(Bits16); }

  template <class X, class H>
  MHC_FN static Shared lay_out(char* base, int kept_tiles) {
    Shared s;
    s.projection = reinterpret_cast<float*>(base);
    s.part = s.projection + kProjectionSize;
    s.mix = s.part + kPartsSize;
    s.row = s.mix + kMixSize;
    s.barrier = reinterpret_cast<BulkBarrier*>(s.row + kWarps * kTile);
    s.kept = reinterpret_cast<Bits16*>(s.barrier + 1);
    s.h = s.kept + kept_tiles * kRowWords<X>;
    return s;
  }
};

template <class X, class H>
class Stream {
 public:
  MHC_FN Stream(const Arguments& a, const Array<const X>& x, const LayerOutput<H>& f, const Array<X>& x_next,
                const Array<H>& h, const Array<H>& y, const Shared& s)
      : a_(a), x_(x), f_(f), x_next_(x_next), h_(h), y_(y), s_(s), unit_(static_cast<int>(block_index() % a.units)),
        group_(static_cast<int>(block_index() / a.units)), counters_(a.counters, group_), place_(thread_index(), unit_) {}

  MHC_FN void run() {
    const int count = tiles_of_group();
    Loaded now;
    if (count > 0) now = load(0);
    for (int k = 0; k < count; ++k) {
      float squares[2];
      enter(k, now, squares);
      if (k + 1 < count) now = load(k + 1);
      product(k, squares);
      if (!a_.h) continue;
      if (k >= a_.lag) layer_input(k - a_.lag);
      if (a_.norm && k > a_.lag) finish(k - a_.lag - 1);
    }
    if (!a_.h) return;
    for (int k = count - a_.lag < 0 ? 0 : count - a_.lag; k < count; ++k) {
      layer_input(k);
      if (a_.norm && k > 0) finish(k - 1);
    }
    if (a_.norm && count > 0) finish(count - 1);
  }

  MHC_FN int tiles_of_group() const { return group_ < a_.tiles ? (a_.tiles - 1 - group_) / a_.groups + 1 : 0; }

 private:
  struct Loaded {
    Piece<X> x[2][kStreams];
    Piece<H> f[2];
  };

  MHC_FN int64_t token(int k, int r) const { return (int64_t{k} * a_.groups + group_) * kTile + place_.token + 8 * r; }
  MHC_FN int64_t left(int64_t token) const { return token < a_.tokens ? a_.width - place_.channel : 0; }

  MHC_FN Loaded load(int k) const {
    Loaded in;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r), rest = left(t);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) in.x[r][i] = load_piece(x_.at(t, i, place_.channel), rest, a_.x_aligned);
      if (a_.post) in.f[r] = f_.load(t, place_.channel, rest, a_.f_aligned);
    }
    return in;
  }

  // x_next of a tile: rounded, stored, kept, squared.
  MHC_FN void enter(int k, const Loaded& in, float (&squares)[2]) {
    Bits16* kept = kept_of(k);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r), rest = left(t);
      PostMix<kStreams> mix;
      if (a_.post && rest > 0) mix.load(a_.post_mix, a_.res_mix, a_.in_out, t, kStreams);
      squares[r] = 0.0f;
      const auto streams = [&](const auto& f) MHC_INLINE {
#pragma unroll
        for (int o = 0; o < kStreams; ++o) {
          Piece<X> piece;
          if (a_.post && rest > 0) {
            float out[kPiece];
#pragma unroll
            for (int e = 0; e < kPiece; ++e) {
              out[e] = mix.next(o, [&](auto i) MHC_INLINE { return in.x[r][i][e]; }, f[e], kStreams);
            }
            piece.set(out);
            if (rest < kPiece) piece = first_of(piece, rest);
            store_piece(x_next_.at(t, o, place_.channel), piece, rest, a_.x_aligned);
          } else {
            piece = in.x[r][o];
          }
#pragma unroll
          for (int e = 0; e < kPiece; ++e) squares[r] = fmaf(piece[e], piece[e], squares[r]);
          put(kept, r * kStreams + o, piece);
        }
      };
      if constexpr (sizeof(X) == 2) {  // of the two ways what leaves fewer registers to spill
        float f[kPiece];
        if (a_.post) f_.values(in.f[r], f);
        streams(f);
      } else {
        f_.with_values(in.f[r], streams);
      }
    }
  }

  MHC_FN Bits16* kept_of(int k) const { return s_.kept + k % a_.kept * kRowWords<X> + thread_index(); }

  // The unit's sums of the tile, to memory.
  MHC_FN void product(int k, const float (&own_squares)[2]) {
    put_parts<X>(place_, s_.projection, kept_of(k), own_squares, a_.config.projection_precision == MHC_PROJECTION_TF32,
                 s_.part);
    if (k >= a_.slots) GroupCounters::wait(counters_.ready(k % a_.slots), k - a_.slots, a_.slots, 1);
    sync_threads(kStreamBarrier, kStreamThreads);
    store_sums(place_, s_.part, a_.sums + ((int64_t{group_} * a_.slots + k % a_.slots) * a_.units + unit_) * kSumsSize);
    arrive(counters_.summed(k % a_.slots));
  }

  static MHC_FN float largest_of_lanes(float v) {
    v = fmaxf(v, shuffle_xor(v, 1));
    return fmaxf(v, shuffle_xor(v, 2));
  }

  // What all stream threads stored is there for whoever waits for the counter.
  MHC_FN void arrive(uint32_t* counter) const {
    sync_threads(kStreamBarrier, kStreamThreads);
    if (thread_index() == 0) add_release(counter, 1);
  }

  // h of a tile.
  MHC_FN void layer_input(int k) {
    const bool from_next = !a_.shifted;
    if (from_next) GroupCounters::wait(counters_.ready(k % a_.slots), k, a_.slots, 1);
    const Bits16* kept = kept_of(k);
    Piece<H> rounded[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r), rest = left(t);
      float pre[kStreams], out[kPiece];
      Piece<X> in[kStreams];
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
        pre[i] = t >= a_.tokens ? 0.0f : from_next ? load_fresh(a_.out.pre_mix.at(t, i)) : load1(a_.shifted_pre_mix.at(t, i));
        in[i] = get<X>(kept, r * kStreams + i);
      }
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = pre_value<kStreams>([&](auto i) MHC_INLINE { return pre[i]; }, [&](auto i) MHC_INLINE { return in[i][e]; }, kStreams);
        if (e >= rest) out[e] = 0.0f;
      }
      rounded[r].set(out);
      if (h_) store_piece(h_.at(t, place_.channel), rounded[r], rest, a_.layer_aligned);
    }
    if (a_.norm) return hand_to_norm(k, rounded);
    if (a_.h_fp8) quantize(k, rounded);
  }

  // h waits for its row's sum of squares.
  MHC_FN void hand_to_norm(int k, const Piece<H> (&rounded)[2]) {
    Bits16* at = h_of(k);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float squares = 0.0f;
#pragma unroll
      for (int e = 0; e < kPiece; ++e) squares = fmaf(rounded[r][e], rounded[r][e], squares);
      squares = over_lanes(squares);
      if (thread_index() % 4 == 0) s_.row[place_.warp * kTile + place_.token + 8 * r] = squares;
      put(at, r, rounded[r]);
    }
    sync_threads(kStreamBarrier, kStreamThreads);
    if (thread_index() < kTile) {
      float sum = s_.row[thread_index()];
      for (int w = 1; w < kWarps; ++w) sum += s_.row[w * kTile + thread_index()];
      store1(squares_of(k) + unit_ * kTile + thread_index(), sum);
    }
    arrive(counters_.normed(k % a_.slots));
  }
  MHC_FN Bits16* h_of(int k) const { return s_.h + k % 2 * 2 * Piece<H>::kWords * kStreamThreads + thread_index(); }
  MHC_FN float* squares_of(int k) const { return a_.squares + (int64_t{group_} * a_.slots + k % a_.slots) * a_.units * kTile; }

  // y of a tile, from h and its squares.
  MHC_FN void finish(int k) {
    GroupCounters::wait(counters_.normed(k % a_.slots), k, a_.slots, a_.units);
    const Bits16* at = h_of(k);
    Piece<H> rounded[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r), rest = left(t);
      const float* squares = squares_of(k) + place_.token + 8 * r;
      float sum = load_fresh(squares);
      for (int u = 1; u < a_.units; ++u) sum += load_fresh(squares + u * kTile);
      const float inv_rms = inv_rms_of(sum, a_.width, MHC_RMS_EPS_INSIDE, a_.norm_eps);
      const Piece<H> h = get<H>(at, r);
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) out[e] = e < rest ? h[e] * inv_rms * load1(a_.norm_weight.at() + place_.channel + e) : 0.0f;
      rounded[r].set(out);
      if (y_) store_piece(y_.at(t, place_.channel), rounded[r], rest, a_.layer_aligned);
    }
    if (a_.h_fp8) quantize(k, rounded);
  }

  // E4M3 with a scale for each 128 channels, which four warps share.
  MHC_FN void quantize(int k, const Piece<H> (&rounded)[2]) {
    sync_threads(kStreamBarrier, kStreamThreads);  // row has been read
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = 0.0f;
#pragma unroll
      for (int e = 0; e < kPiece; ++e) most = fmaxf(most, counted_magnitude(rounded[r][e]));
      most = largest_of_lanes(most);
      if (thread_index() % 4 == 0) s_.row[place_.warp * kTile + place_.token + 8 * r] = most;
    }
    sync_threads(kStreamBarrier, kStreamThreads);
    const bool odd = thread_index() % 2;
    uint32_t words[2][2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r);
      float most = 0.0f;
      for (int w = 0; w < 4; ++w) most = fmaxf(most, s_.row[(place_.warp / 4 * 4 + w) * kTile + place_.token + 8 * r]);
      const float scale = fp8_scale_of(most, kFp8AmaxFloor, a_.power_of_two);
      if (left(t) > 0 && place_.warp % 4 == 0 && thread_index() % 4 == 0) a_.h_scale.put(t, place_.channel / 128, scale);
      Fp8Divisor(scale).quotients(rounded[r], words[r]);
    }
    // A lane and its neighbour have sixteen channels of two tokens: the one stores the first token, the other the second.
    uint32_t other[2];
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      other[w] = bits_from_float(shuffle_xor(float_from_bits(odd ? words[0][w] : words[1][w]), 1));
    }
    const int64_t t = token(k, odd), first = odd ? place_.channel - kPiece : place_.channel;
    const Bits16 bytes = odd ? Bits16{{other[0], other[1], words[1][0], words[1][1]}} : Bits16{{words[0][0], words[0][1], other[0], other[1]}};
    if (t < a_.tokens) store_bytes(a_.h_fp8.at(t, first), bytes, a_.width - first, a_.fp8_aligned);
  }

  const Arguments& a_;
  const Array<const X>& x_;
  const LayerOutput<H>& f_;
  const Array<X>& x_next_;
  const Array<H>&h_, &y_;
  const Shared& s_;
  const int unit_, group_;
  const GroupCounters counters_;
  const Place place_;
};

// Tiles unit, unit + units ... of the group: their units' sums to coefficients.
MHC_APART void coefficients_of_group(const Arguments& a, const Shared s) {
  const int unit = static_cast<int>(block_index() % a.units), group = static_cast<int>(block_index() / a.units);
  const int thread = thread_index() - kStreamThreads;
  const GroupCounters counters(a.counters, group);
  for (int k = unit; int64_t{k} * a.groups + group < a.tiles; k += a.units) {
    const int slot = k % a.slots;
    GroupCounters::wait(counters.summed(slot), k, a.slots, a.units);
    const float* sums = a.sums + (int64_t{group} * a.slots + slot) * a.units * kSumsSize;
    make_coefficients({a.tokens, a.width, a.units, a.config, a.scale.at(), a.bias.at()}, sums,
                      (int64_t{k} * a.groups + group) * kTile, a.out, s.mix, thread, kCoefficientBarrier);
    if (thread == 0) add_release(counters.ready(slot), 1);
  }
}

template <class X, class H>
MHC_KERNEL(kBlockThreads) pass_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT Array<const X> x, MHC_CONSTANT LayerOutput<H> f,
                                      MHC_CONSTANT Array<X> x_next, MHC_CONSTANT Array<H> h, MHC_CONSTANT Array<H> y) {
  const Shared s = Shared::lay_out<X, H>(shared_memory(), a.kept);
  Columns(a.projection, static_cast<int>(block_index() % a.units)).bring(s.projection, s.barrier);
  if (thread_index() < kStreamThreads) {
    Stream<X, H>(a, x, f, x_next, h, y, s).run();
  } else {
    coefficients_of_group(a, s);
  }
  GroupCounters(a.counters, static_cast<int>(block_index() / a.units)).leave(a.units);
}

// The workspace of a pass.
struct Space {
  float *sums, *squares;
  size_t bytes;

  Space(const Sizes& sizes, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    int64_t tiles = int64_t{groups_of(sizes, device)} * GroupCounters::kMostSlots * units_of(sizes.width) * kTile;
    sums = pieces.take<float>(tiles * kValues);
    squares = pieces.take<float>(tiles);
    bytes = pieces.used();
  }
};

// As many tiles stay as there is room for, up to three.
template <class X, class H>
Grid grid_of(Arguments& a, const DeviceProperties& device) {
  size_t fixed = Shared::kFixed + (a.norm ? Shared::h_bytes<H>() : 0);
  int64_t room = static_cast<int64_t>((device.shared_bytes - fixed) / Shared::kept_bytes<X>());
  a.kept = static_cast<int>(room < 1 ? 1 : room > 3 ? 3 : room);
  if (!a.h) a.kept = 1;
  a.lag = a.shifted ? 0 : a.kept - 1;
  a.slots = a.lag + 3;
  return {int64_t{a.groups} * a.units, kBlockThreads, fixed + static_cast<size_t>(a.kept) * Shared::kept_bytes<X>(), true};
}

}  // namespace

bool pass_fits(const Sizes& sizes, const mhc_config& config, const DeviceProperties& device) {
  return sizes.streams == kStreams && config.mode == MHC_MODE_MHC && !config.is_static &&
         units_of(sizes.width) <= device.multiprocessors && sizes.tokens < (int64_t{1} << 34) &&
         device.shared_bytes >= Shared::kFixed + Shared::h_bytes<float>() + Shared::kept_bytes<float>();
}

size_t pass_space(const Sizes& sizes, const DeviceProperties& device) { return Space(sizes, device, nullptr).bytes; }

void run_pass(const Pass& p, Job& job) {
  const Sizes& sizes = p.sizes;
  const Space space(sizes, job.device, job.workspace);
  Arguments a = {};
  a.tokens = sizes.tokens;
  a.width = sizes.width;
  a.tiles = static_cast<int>(tiles_of(sizes.tokens));
  a.units = units_of(sizes.width);
  a.groups = groups_of(sizes, job.device);
  a.post = p.f.given;
  a.in_out = p.config.orientation == MHC_IN_OUT;
  a.x_aligned = rows_aligned(p.x) && rows_aligned(p.x_next);
  a.f_aligned = layer_output_aligned(p.f);
  a.layer_aligned = rows_aligned(p.h) && rows_aligned(p.y);
  a.fp8_aligned = rows_aligned(p.h_fp8);
  a.shifted = p.shifted_pre_mix.given;
  a.h = p.h.given || p.y.given || p.h_fp8.given;
  a.norm = p.norm_weight.given;
  a.power_of_two = p.fp8_scale_rounding == MHC_FP8_SCALE_POWER_OF_TWO;
  a.config = p.config;
  a.post_mix = Array<const float>(p.post_mix);
  a.res_mix = Array<const float>(p.res_mix);
  a.projection = {Array<const float>(p.parameters.projection), Array<const float>(p.parameters.norm_weight), sizes.width,
                  rows_aligned(p.parameters.projection) && sizes.width % 4 == 0 && !p.parameters.norm_weight};
  a.scale = Array<const float>(p.parameters.scale);
  a.bias = Array<const float>(p.parameters.bias);
  a.shifted_pre_mix = Array<const float>(p.shifted_pre_mix);
  a.norm_weight = Array<const float>(p.norm_weight);
  a.out = CoefficientArrays(p.out);
  a.h_fp8 = Array<uint8_t>(p.h_fp8);
  a.h_scale = ScaleTarget(p.h_scale);
  a.norm_eps = p.norm_eps;
  a.sums = space.sums;
  a.squares = space.squares;
  a.counters = job.counters;
  with_row_types(p.x.type, p.layer_type, [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    const Grid grid = grid_of<X, H>(a, job.device);
    job.launch(grid, pass_kernel<X, H>, a, Array<const X>(p.x), LayerOutput<H>(p.f, p.f_scale), Array<X>(p.x_next), Array<H>(p.h),
               Array<H>(p.y));
  });
}

}  // namespace mhc::cuda
