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
#include "cuda/group.h"
#include "cuda/mixes.h"
#include "cuda/pass.h"
#include "lanes/activate.h"
#include "lanes/rms.h"

namespace mhc::cuda {
namespace {

constexpr int kStreams = 4, kOutputs = 24, kValues = kOutputs + 1;  // 24 products and the sum of squares
constexpr int kTile = 16, kUnit = 256;
constexpr int kStreamThreads = 256, kCoefficientThreads = 128, kBlockThreads = kStreamThreads + kCoefficientThreads;
constexpr int kWarps = kStreamThreads / 32;
constexpr int kProjectionPitch = kStreams * kUnit + 4;  // 16 bytes more, so that rows lie in different banks
constexpr int kPartPitch = 28;
enum BarrierId { kStreamBarrier = 1, kCoefficientBarrier = 2 };

struct Arguments {
  int64_t tokens, width;
  int tiles, units, groups;
  int kept;   // tiles of x_next in shared memory
  int lag;    // tiles between a scan and its h
  int slots;  // tiles whose sums are in memory at a time
  bool post, in_out, x_aligned, layer_aligned, fp8_aligned, shifted, h, norm, power_of_two;
  mhc_config config;
  ProjectionColumns projection;
  Array<const float> post_mix, res_mix, scale, bias, shifted_pre_mix, norm_weight;
  Array<float> pre_out, post_out, res_out, mix_out, inv_rms_out;
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

  static constexpr size_t kFixed = sizeof(float) * (kOutputs * kProjectionPitch + kWarps * kTile * kPartPitch + kTile * kPartPitch + kWarps * kTile) +
                                   sizeof(BulkBarrier);
  template <class X>
  static constexpr size_t kept_bytes() { return size_t{2} * kStreams * Piece<X>::kWords * kStreamThreads * sizeof(Bits16); }
  template <class H>
  static constexpr size_t h_bytes() { return size_t{2} * 2 * Piece<H>::kWords * kStreamThreads * sizeof(Bits16); }

  template <class X, class H>
  MHC_FN static Shared lay_out(char* base, int kept_tiles) {
    Shared s;
    s.projection = reinterpret_cast<float*>(base);
    s.part = s.projection + kOutputs * kProjectionPitch;
    s.mix = s.part + kWarps * kTile * kPartPitch;
    s.row = s.mix + kTile * kPartPitch;
    s.barrier = reinterpret_cast<BulkBarrier*>(s.row + kWarps * kTile);
    s.kept = reinterpret_cast<Bits16*>(s.barrier + 1);
    s.h = s.kept + kept_tiles * 2 * kStreams * Piece<X>::kWords * kStreamThreads;
    return s;
  }
};

template <class X, class H>
class Stream {
 public:
  MHC_FN Stream(const Arguments& a, const Array<const X>& x, const Array<const H>& f, const Array<X>& x_next,
                const Array<H>& h, const Array<H>& y, const Shared& s)
      : a_(a), x_(x), f_(f), x_next_(x_next), h_(h), y_(y), s_(s), unit_(static_cast<int>(block_index() % a.units)),
        group_(static_cast<int>(block_index() / a.units)), counters_(a.counters, group_) {
    const int lane = thread_index() % 32;
    warp_ = thread_index() / 32;
    token_ = lane / 4;
    channel_ = int64_t{unit_} * kUnit + warp_ * 32 + lane % 4 * kPiece;
  }

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

  MHC_FN int64_t token(int k, int r) const { return (int64_t{k} * a_.groups + group_) * kTile + token_ + 8 * r; }
  MHC_FN int64_t left(int64_t token) const { return token < a_.tokens ? a_.width - channel_ : 0; }

  MHC_FN Loaded load(int k) const {
    Loaded in;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r), rest = left(t);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) in.x[r][i] = load_piece(x_.at(t, i, channel_), rest, a_.x_aligned);
      if (a_.post) in.f[r] = load_piece(f_.at(t, channel_), rest, a_.layer_aligned);
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
#pragma unroll
      for (int o = 0; o < kStreams; ++o) {
        Piece<X> piece;
        if (a_.post && rest > 0) {
          float out[kPiece];
#pragma unroll
          for (int e = 0; e < kPiece; ++e) {
            out[e] = mix.next(o, [&](auto i) MHC_INLINE { return in.x[r][i][e]; }, in.f[r][e], kStreams);
          }
          piece.set(out);
          if (rest < kPiece) piece = first_of(piece, rest);
          store_piece(x_next_.at(t, o, channel_), piece, rest, a_.x_aligned);
        } else {
          piece = in.x[r][o];
        }
#pragma unroll
        for (int e = 0; e < kPiece; ++e) squares[r] = fmaf(piece[e], piece[e], squares[r]);
        put(kept, r * kStreams + o, piece);
      }
    }
  }

  // A thread's pieces in shared memory, a word of each thread after the other.
  MHC_FN Bits16* kept_of(int k) const { return s_.kept + k % a_.kept * 2 * kStreams * Piece<X>::kWords * kStreamThreads + thread_index(); }
  template <class T>
  static MHC_FN void put(Bits16* at, int index, const Piece<T>& piece) {
#pragma unroll
    for (int w = 0; w < Piece<T>::kWords; ++w) at[(index * Piece<T>::kWords + w) * kStreamThreads] = piece.bits[w];
  }
  template <class T>
  static MHC_FN Piece<T> get(const Bits16* at, int index) {
    Piece<T> piece;
#pragma unroll
    for (int w = 0; w < Piece<T>::kWords; ++w) piece.bits[w] = at[(index * Piece<T>::kWords + w) * kStreamThreads];
    return piece;
  }

  // Zeros behind count elements: where the projection ends too, but 0 times an infinite remainder is not 0.
  static MHC_FN Piece<X> first_of(const Piece<X>& piece, int64_t count) {
    float v[kPiece];
#pragma unroll
    for (int e = 0; e < kPiece; ++e) v[e] = e < count ? piece[e] : 0.0f;
    Piece<X> out;
    out.set(v);
    return out;
  }

  // The unit's sums of the tile, to memory.
  MHC_FN void product(int k, const float (&own_squares)[2]) {
    float high[3][4] = {}, low[3][4] = {};
    const int lane = thread_index() % 32;
    const float* weights = s_.projection + lane / 4 * kProjectionPitch + warp_ * 32 + lane % 4 * kPiece;
    const Bits16* kept = kept_of(k);
#pragma unroll 1
    for (int i = 0; i < kStreams; ++i) {
      const Piece<X> top = get<X>(kept, i), bottom = get<X>(kept, kStreams + i);
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
          const float b_high[2] = {high_part(weight[q]), high_part(weight[q + 1])};
          const float b_low[2] = {weight[q] - b_high[0], weight[q + 1] - b_high[1]};
          if constexpr (sizeof(X) == 4) {
            const float a_high[4] = {high_part(a[0]), high_part(a[1]), high_part(a[2]), high_part(a[3])};
            const float a_low[4] = {a[0] - a_high[0], a[1] - a_high[1], a[2] - a_high[2], a[3] - a_high[3]};
            mma_tf32(high[j], a_high, b_high);
            mma_tf32(low[j], a_high, b_low);
            mma_tf32(low[j], a_low, b_high);
          } else {
            mma_tf32(high[j], a, b_high);
            mma_tf32(low[j], a, b_low);
          }
        }
      }
    }
    float* part = s_.part + warp_ * kTile * kPartPitch;
#pragma unroll
    for (int j = 0; j < 3; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        part[(token_ + (e >= 2 ? 8 : 0)) * kPartPitch + 8 * j + lane % 4 * 2 + e % 2] = high[j][e] + low[j][e];
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float squares = over_lanes(own_squares[r]);
      if (lane % 4 == 0) part[(token_ + 8 * r) * kPartPitch + kOutputs] = squares;
    }
    if (k >= a_.slots) GroupCounters::wait(counters_.ready(k % a_.slots), k - a_.slots, a_.slots, 1);
    sync_threads(kStreamBarrier, kStreamThreads);
    float* sums = a_.sums + ((int64_t{group_} * a_.slots + k % a_.slots) * a_.units + unit_) * kTile * kValues;
    for (int v = thread_index(); v < kTile * kValues; v += kStreamThreads) {
      const float* from = s_.part + v / kValues * kPartPitch + v % kValues;
      float sum = from[0];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) sum += from[w * kTile * kPartPitch];
      store1(sums + v, sum);
    }
    arrive(counters_.summed(k % a_.slots));
  }

  // The four lanes of a token.
  static MHC_FN float over_lanes(float v) {
    v = v + shuffle_xor(v, 1);
    return v + shuffle_xor(v, 2);
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
        pre[i] = t >= a_.tokens ? 0.0f : from_next ? load_fresh(a_.pre_out.at(t, i)) : load1(a_.shifted_pre_mix.at(t, i));
        in[i] = get<X>(kept, r * kStreams + i);
      }
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        out[e] = pre_value<kStreams>([&](auto i) MHC_INLINE { return pre[i]; }, [&](auto i) MHC_INLINE { return in[i][e]; }, kStreams);
        if (e >= rest) out[e] = 0.0f;
      }
      rounded[r].set(out);
      if (h_) store_piece(h_.at(t, channel_), rounded[r], rest, a_.layer_aligned);
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
      if (thread_index() % 4 == 0) s_.row[warp_ * kTile + token_ + 8 * r] = squares;
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
      const float* squares = squares_of(k) + token_ + 8 * r;
      float sum = load_fresh(squares);
      for (int u = 1; u < a_.units; ++u) sum += load_fresh(squares + u * kTile);
      const float inv_rms = inv_rms_of(sum, a_.width, MHC_RMS_EPS_INSIDE, a_.norm_eps);
      const Piece<H> h = get<H>(at, r);
      float out[kPiece];
#pragma unroll
      for (int e = 0; e < kPiece; ++e) out[e] = e < rest ? h[e] * inv_rms * load1(a_.norm_weight.at() + channel_ + e) : 0.0f;
      rounded[r].set(out);
      if (y_) store_piece(y_.at(t, channel_), rounded[r], rest, a_.layer_aligned);
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
      if (thread_index() % 4 == 0) s_.row[warp_ * kTile + token_ + 8 * r] = most;
    }
    sync_threads(kStreamBarrier, kStreamThreads);
    const bool odd = thread_index() % 2;
    uint32_t words[2][2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(k, r);
      float most = 0.0f;
      for (int w = 0; w < 4; ++w) most = fmaxf(most, s_.row[(warp_ / 4 * 4 + w) * kTile + token_ + 8 * r]);
      const float scale = fp8_scale_of(most, kFp8AmaxFloor, a_.power_of_two);
      if (left(t) > 0 && warp_ % 4 == 0 && thread_index() % 4 == 0) a_.h_scale.put(t, channel_ / 128, scale);
      Fp8Divisor(scale).quotients(rounded[r], words[r]);
    }
    // A lane and its neighbour have sixteen channels of two tokens: the one stores the first token, the other the second.
    uint32_t other[2];
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      other[w] = bits_from_float(shuffle_xor(float_from_bits(odd ? words[0][w] : words[1][w]), 1));
    }
    const int64_t t = token(k, odd), first = odd ? channel_ - kPiece : channel_;
    const Bits16 bytes = odd ? Bits16{{other[0], other[1], words[1][0], words[1][1]}} : Bits16{{words[0][0], words[0][1], other[0], other[1]}};
    if (t < a_.tokens) store_bytes(a_.h_fp8.at(t, first), bytes, a_.width - first, a_.fp8_aligned);
  }

  const Arguments& a_;
  const Array<const X>& x_;
  const Array<const H>& f_;
  const Array<X>& x_next_;
  const Array<H>&h_, &y_;
  const Shared& s_;
  const int unit_, group_;
  const GroupCounters counters_;
  int warp_, token_;
  int64_t channel_;
};

// Tiles unit, unit + units ... of the group: their units' sums to coefficients.
MHC_APART void coefficients_of_group(const Arguments& a, const Shared s) {
  const int unit = static_cast<int>(block_index() % a.units), group = static_cast<int>(block_index() / a.units);
  const int thread = thread_index() - kStreamThreads;
  const GroupCounters counters(a.counters, group);
  for (int k = unit; int64_t{k} * a.groups + group < a.tiles; k += a.units) {
    const int slot = k % a.slots;
    GroupCounters::wait(counters.summed(slot), k, a.slots, a.units);
    const float* sums = a.sums + (int64_t{group} * a.slots + slot) * a.units * kTile * kValues;
    for (int v = thread; v < kTile * kValues; v += kCoefficientThreads) {
      float sum = load_fresh(sums + v);
#pragma unroll 8
      for (int u = 1; u < a.units; ++u) sum += load_fresh(sums + int64_t{u} * kTile * kValues + v);
      s.mix[v / kValues * kPartPitch + v % kValues] = sum;
    }
    sync_threads(kCoefficientBarrier, kCoefficientThreads);
    const int64_t token = (int64_t{k} * a.groups + group) * kTile + thread;
    if (thread < kTile && token < a.tokens) {
      float* values = s.mix + thread * kPartPitch;
      const float inv_rms = inv_rms_of(values[kOutputs], kStreams * a.width, a.config.rms_eps_mode, a.config.rms_eps);
      F pre[kStreams], post[kStreams], res[kStreams * kStreams];
#pragma unroll 1
      for (int o = 0; o < kOutputs; ++o) {
        values[o] = values[o] * inv_rms;
        if (a.mix_out) store1(a.mix_out.at(token, o), values[o]);
      }
      if (a.inv_rms_out) store1(a.inv_rms_out.at(token), inv_rms);
      activation::manifold<kStreams>({a.config, a.scale.at(), a.bias.at(), reinterpret_cast<const F*>(values)}, pre, post, res, nullptr);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
        store1(a.pre_out.at(token, i), pre[i].v);
        store1(a.post_out.at(token, i), post[i].v);
#pragma unroll
        for (int j = 0; j < kStreams; ++j) store1(a.res_out.at(token, i, j), res[i * kStreams + j].v);
      }
    }
    sync_threads(kCoefficientBarrier, kCoefficientThreads);
    if (thread == 0) add_release(counters.ready(slot), 1);
  }
}

template <class X, class H>
MHC_KERNEL(kBlockThreads) pass_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT Array<const X> x, MHC_CONSTANT Array<const H> f,
                                      MHC_CONSTANT Array<X> x_next, MHC_CONSTANT Array<H> h, MHC_CONSTANT Array<H> y) {
  const Shared s = Shared::lay_out<X, H>(shared_memory(), a.kept);
  bring_projection<kOutputs, kStreams, kUnit, kProjectionPitch>(a.projection, static_cast<int>(block_index() % a.units), s.projection,
                                                                s.barrier);
  if (thread_index() < kStreamThreads) {
    Stream<X, H>(a, x, f, x_next, h, y, s).run();
  } else {
    coefficients_of_group(a, s);
  }
  GroupCounters(a.counters, static_cast<int>(block_index() / a.units)).leave(a.units);
}

int units_of(int64_t width) { return static_cast<int>((width + kUnit - 1) / kUnit); }
int groups_of(const Sizes& sizes, const DeviceProperties& device) {
  int64_t tiles = (sizes.tokens + kTile - 1) / kTile, groups = device.multiprocessors / units_of(sizes.width);
  int64_t most = kCounters / GroupCounters::kOfGroup;
  groups = groups < most ? groups : most;
  return static_cast<int>(groups < tiles ? groups : tiles);
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
  a.tiles = static_cast<int>((sizes.tokens + kTile - 1) / kTile);
  a.units = units_of(sizes.width);
  a.groups = groups_of(sizes, job.device);
  a.post = p.f.given;
  a.in_out = p.config.orientation == MHC_IN_OUT;
  a.x_aligned = rows_aligned(p.x) && rows_aligned(p.x_next);
  a.layer_aligned = rows_aligned(p.f) && rows_aligned(p.h) && rows_aligned(p.y);
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
  a.pre_out = Array<float>(p.out.pre_mix);
  a.post_out = Array<float>(p.out.post_mix);
  a.res_out = Array<float>(p.out.res_mix);
  a.mix_out = Array<float>(p.out.mix);
  a.inv_rms_out = Array<float>(p.out.inv_rms);
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
    job.launch(grid, pass_kernel<X, H>, a, Array<const X>(p.x), Array<const H>(p.f), Array<X>(p.x_next), Array<H>(p.h), Array<H>(p.y));
  });
}

}  // namespace mhc::cuda
