// SPDX-License-Identifier: Apache-2.0
// A group of blocks shares the width, a unit of 128 channels each, and goes through its tiles of 16 tokens together. In a
// block two teams of four warps take turns with the tiles, so that one computes while the other waits for memory or for the
// rest of the group. A lane holds four tokens and four channels of all four streams, in the very places where the tensor
// cores want their operands, and copies them into shared memory one tile ahead.
//
//   team          sums over the unit's channels that dh and d_pre_mix need, to memory, arrive
//   one of them   (the teams of the units in turn) waits for all units, adds them in order, does the rest of the mix
//                 backward, says ready
//   team          wait for ready;  D = d_x_next + pre dh + c next + g . projection;  d_x, d_f, the unit's part of the dot
//                 products of d_post_mix and d_res_mix;  d_projection += g^T . next, which stays in registers to the end
//
// Each element of x, f, d_h and d_x_next is read from memory once. Sums of a token are taken in an order that depends on the
// width alone; those of the weights also on how many groups there are.
#include "cuda/group.h"
#include "cuda/mix_backward.h"
#include "cuda/mixes.h"
#include "cuda/pass_backward.h"
#include "cuda/sums.h"
#include "cuda/weight_gradients.h"

namespace mhc::cuda {
namespace {

constexpr int kStreams = 4, kOutputs = 24, kTile = 16, kUnit = 128, kQuad = 4;
constexpr int kTeams = 2, kTeamThreads = 128, kTeamWarps = kTeamThreads / 32;
constexpr int kBlockThreads = kTeams * kTeamThreads;  // one warp more, and each would have two thirds of the registers
constexpr int kProjectionPitch = kStreams * kUnit + 8;  // eight more, so that the lanes of a load meet different banks
constexpr int kRecord = 27;  // of a Record a team wants g, c, inv_rms and inner
static_assert(kTeamThreads == kUnit);  // where a thread brings a channel's weight
constexpr int kGPitch = 28;
constexpr int kMixPitch = 28;  // pre[4], post[4], res[16], f's scale of the unit
constexpr int kScaleAt = 24;
static_assert(kUnit == 128);  // as wide as a tile of FP8: a unit's f has one scale
constexpr int kDots = 24;      // post[4], res[16], shifted_pre[4]
constexpr int kMostSums = 10;  // along[4]; with RMSNorm across[4], squares, inner
constexpr int kPartFloats = kTeamWarps * 8 * kDots;

template <class T>
using Quad = Packed<T, kQuad, std::conditional_t<sizeof(T) == 4, Bits16, Bits8>>;

struct Arguments {
  MixBackward mix;
  int64_t tokens, width;
  int tiles, units, groups;
  int slots;  // tiles of a team in shared memory
  bool post, layer, norm, scan, d_x_next, d_x, d_projection, d_norm, dots, accumulate, in_out, aligned;
  float norm_eps;
  ProjectionColumns projection;
  Array<const float> post_mix, res_mix, norm_weight;
  float* sums;       // [group][team][unit][tile * kMostSums]
  float* dot_parts;  // [token][unit][kDots]
  WeightParts parts; // one for each team
  uint32_t* counters;
};

// Shared memory, in order.
struct Shared {
  float* projection;  // [output][kProjectionPitch]
  float* g;           // [team][token][kGPitch]
  float* mix;         // [team][token][kMixPitch]
  float* part;        // [team][kPartFloats]
  float* d_norm;      // [thread][kQuad]: the sums of RMSNorm's weight, which there are no registers for
  float* weight;      // [kUnit], of RMSNorm; zeros where the width ends
  BulkBarrier* barrier;
  char* slots;        // [team][slot]

  static constexpr int kTeamFloats = kTile * (kGPitch + kMixPitch) + kPartFloats;
  static constexpr size_t kFixed =
      sizeof(float) * (kOutputs * kProjectionPitch + kTeams * kTeamFloats + kBlockThreads * kQuad + kUnit) + sizeof(BulkBarrier);
  template <class X, class H>
  static constexpr size_t slot_bytes() { return kTeamThreads * (32 * sizeof(Quad<X>) + 8 * sizeof(Quad<H>)); }

  MHC_FN explicit Shared(char* base) {
    projection = reinterpret_cast<float*>(base);
    g = projection + kOutputs * kProjectionPitch;
    mix = g + kTeams * kTile * kGPitch;
    part = mix + kTeams * kTile * kMixPitch;
    d_norm = part + kTeams * kPartFloats;
    weight = d_norm + kBlockThreads * kQuad;
    barrier = reinterpret_cast<BulkBarrier*>(weight + kUnit);
    slots = reinterpret_cast<char*>(barrier + 1);
  }
};

// A thread's rows of one tile in shared memory: quads [token][stream] of x and d_x_next, [token] of f and d_h.
template <class X, class H>
struct Slot {
  Quad<X>* wide;
  Quad<H>* narrow;

  MHC_FN Slot(char* base, int thread) : wide(reinterpret_cast<Quad<X>*>(base) + thread) {
    narrow = reinterpret_cast<Quad<H>*>(base + kTeamThreads * 32 * sizeof(Quad<X>)) + thread;
  }
  MHC_FN Quad<X>& x(int s, int i) const { return wide[(s * kStreams + i) * kTeamThreads]; }
  MHC_FN Quad<X>& d_next(int s, int i) const { return wide[(16 + s * kStreams + i) * kTeamThreads]; }
  MHC_FN Quad<H>& f(int s) const { return narrow[s * kTeamThreads]; }
  MHC_FN Quad<H>& d_h(int s) const { return narrow[(4 + s) * kTeamThreads]; }
};

MHC_FN void load_floats(const float* from, float (&to)[4]) {
  const Bits16 bits = *reinterpret_cast<const Bits16*>(from);
#pragma unroll
  for (int e = 0; e < 4; ++e) to[e] = float_from_bits(bits.word[e]);
}

template <class X, class H>
class Team {
 public:
  MHC_FN Team(const Arguments& a, const BackwardRows<X, H>& rows, const Shared& s)
      : a_(a), rows_(rows), s_(s), team_(thread_index() / kTeamThreads), thread_(thread_index() % kTeamThreads),
        unit_(static_cast<int>(block_index() % a.units)), group_(static_cast<int>(block_index() / a.units)),
        counters_(a.counters, group_) {
    lane_token_ = thread_ % 4;
    lane_channel_ = thread_ / 32 * 32 + thread_ % 32 / 4 * kQuad;
    channel_ = unit_ * kUnit + lane_channel_;
    g_ = s_.g + team_ * kTile * kGPitch;
    mix_ = s_.mix + team_ * kTile * kMixPitch;
    part_ = s_.part + team_ * kPartFloats;
#pragma unroll
    for (int e = 0; e < kQuad; ++e) d_norm()[e] = 0.0f;
    if (team_ == 0) {
      const int c = unit_ * kUnit + thread_;
      s_.weight[thread_] = a.norm && c < a.width ? load1(a.norm_weight.at() + c) : 0.0f;
    }
    sync_block();
  }

  MHC_FN void run() {
    const int count = group_ < a_.tiles ? (a_.tiles - 1 - group_) / a_.groups + 1 : 0;
    if (team_ < count) bring(team_, slot(0));
    copies_.commit();
    for (int k = team_, mine = 0; k < count; k += kTeams, ++mine) {
      const bool more = k + kTeams < count;
      if (a_.slots > 1 && more) bring(k + kTeams, slot(mine + 1));
      copies_.commit();
      if (a_.slots > 1) {
        copies_.template wait<1>();
      } else {
        copies_.template wait<0>();
      }
      const Slot<X, H> in = slot(mine);
      bring_mix(k);
      if (a_.scan) {
        a_.norm ? scan<true>(in) : scan<false>(in);
        if (k % a_.units == unit_ && thread_ < 32) finish_mix(k);
        GroupCounters::wait(counters_.ready(team_), k, kTeams, 1);
      }
      if (a_.mix.product || a_.norm) bring_g(k);
      apply(k, in);
      if (a_.slots == 1 && more) {
        bring(k + kTeams, in);
        copies_.commit();
      }
    }
    copies_.template wait<0>();
    put_weights();
  }

 private:
  MHC_FN float weight(int e) const { return s_.weight[lane_channel_ + e]; }
  MHC_FN float* d_norm() const { return s_.d_norm + thread_index() * kQuad; }
  MHC_FN void sync_team() const { sync_threads(1 + team_, kTeamThreads); }
  MHC_FN int64_t first_token(int k) const { return (int64_t{k} * a_.groups + group_) * kTile; }
  // The s-th of the lane's tokens in its tile.
  MHC_FN int in_tile(int s) const { return lane_token_ + 4 * s; }
  MHC_FN int64_t left(int64_t token) const { return token < a_.tokens ? a_.width - channel_ : 0; }
  MHC_FN Slot<X, H> slot(int mine) const {
    return {s_.slots + (team_ * a_.slots + mine % a_.slots) * Shared::slot_bytes<X, H>(), thread_};
  }

  // The lane's rows of tile k, on their way to shared memory.
  MHC_FN void bring(int k, const Slot<X, H>& to) {
#pragma unroll 1
    for (int s = 0; s < 4; ++s) {
      const int64_t t = first_token(k) + in_tile(s), rest = left(t);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
        bring_quad(rows_.x.at(t, i, channel_), to.x(s, i), rest);
        if (a_.d_x_next) bring_quad(rows_.d_x_next.at(t, i, channel_), to.d_next(s, i), rest);
      }
      if (a_.post) rows_.f.fp8() ? bring_codes(t, to.f(s), rest) : bring_quad(rows_.f.rows.at(t, channel_), to.f(s), rest);
      if (a_.layer) bring_quad(rows_.d_h.at(t, channel_), to.d_h(s), rest);
    }
  }
  template <class T>
  MHC_FN void bring_quad(const T* from, Quad<T>& to, int64_t rest) {
    if (a_.aligned && rest >= kQuad) return copies_.template copy<sizeof(Quad<T>)>(&to, from);
    Quad<T> quad;
    quad.clear();
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      if (e < rest) quad.put(e, load1(from + e));
    }
    to = quad;
  }

  // Four channels of f in FP8, in a word.
  MHC_FN void bring_codes(int64_t token, Quad<H>& to, int64_t rest) {
    const uint8_t* from = rows_.f.codes(token, channel_);
    if (a_.aligned && rest >= kQuad) return copies_.template copy<4>(&to, from);
    uint32_t codes = 0;
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      if (e < rest) codes |= static_cast<uint32_t>(load1(from + e)) << 8 * e;
    }
    to.bits[0].word[0] = codes;
  }

  // pre, post and res of tile k's tokens, and f's scales; zeros behind the last.
  MHC_FN void bring_mix(int k) const {
    sync_team();  // the tile before has been read
    for (int v = thread_; v < kTile * kMixPitch; v += kTeamThreads) {
      const int t = v / kMixPitch, j = v % kMixPitch, o = (j - 8) / kStreams, i = (j - 8) % kStreams;
      const int64_t token = first_token(k) + t;
      float value = 0.0f;
      if (token < a_.tokens) {
        if (j < 4) {
          if (a_.layer) value = load1(Record(a_.mix, token).pre() + j);
        } else if (j >= kScaleAt) {
          if (j == kScaleAt && a_.post && rows_.f.fp8()) value = rows_.f.scale.at(token, unit_);
        } else if (a_.post) {
          value = j < 8 ? load1(a_.post_mix.at(token, j - 4)) : load1(a_.res_mix.at(token, a_.in_out ? i : o, a_.in_out ? o : i));
        }
      }
      mix_[v] = value;
    }
    sync_team();
  }

  // Coefficients of one token, from shared memory.
  struct Mix : PostMix<kStreams> {
    float pre[kStreams];
  };
  MHC_FN Mix mix_of(int token_in_tile) const {
    const float* from = mix_ + token_in_tile * kMixPitch;
    Mix mix;
    load_floats(from, mix.pre);
    load_floats(from + 4, mix.post);
#pragma unroll
    for (int o = 0; o < kStreams; ++o) {
      float row[4];
      load_floats(from + 8 + 4 * o, row);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) mix.res[o * kStreams + i] = row[i];
    }
    return mix;
  }

  MHC_FN void next_of(const Slot<X, H>& in, int s, const Mix& mix, Quad<X> (&next)[kStreams]) const {
    if (!a_.post) {
#pragma unroll
      for (int o = 0; o < kStreams; ++o) next[o] = in.x(s, o);
      return;
    }
    Quad<X> x[kStreams];
#pragma unroll
    for (int i = 0; i < kStreams; ++i) x[i] = in.x(s, i);
    float f[kQuad];
    f_of(in, s, f);
#pragma unroll
    for (int o = 0; o < kStreams; ++o) {
      float out[kQuad];
#pragma unroll
      for (int e = 0; e < kQuad; ++e) out[e] = mix.next(o, [&](auto i) MHC_INLINE { return x[i][e]; }, f[e], kStreams);
      next[o].set(out);
    }
  }
  MHC_FN void f_of(const Slot<X, H>& in, int s, float (&f)[kQuad]) const {
    const Quad<H> quad = in.f(s);
    if (rows_.f.fp8()) {
      const float scale = mix_[in_tile(s) * kMixPitch + kScaleAt];
#pragma unroll
      for (int e = 0; e < kQuad; ++e) f[e] = from_e4m3(quad.bits[0].word[0] >> 8 * e) * scale;
    } else {
#pragma unroll
      for (int e = 0; e < kQuad; ++e) f[e] = quad[e];
    }
  }
  MHC_FN float h_of(const Mix& mix, const Quad<X> (&next)[kStreams], int e) const {
    return rounded<H>(pre_value<kStreams>([&](auto i) MHC_INLINE { return mix.pre[i]; }, [&](auto i) MHC_INLINE { return next[i][e]; }, kStreams));
  }

  template <bool Norm>
  MHC_FN void scan(const Slot<X, H>& in) {
    constexpr int kSums = Norm ? kMostSums : kStreams;
    float sums[4 * kSums] = {};
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      const Mix mix = mix_of(in_tile(s));
      Quad<X> next[kStreams];
      next_of(in, s, mix, next);
      const Quad<H> d_h = in.d_h(s);
      float* sum = sums + s * kSums;
#pragma unroll
      for (int e = 0; e < kQuad; ++e) {
        const float gradient = Norm ? d_h[e] * weight(e) : d_h[e];
#pragma unroll
        for (int o = 0; o < kStreams; ++o) sum[o] = fmaf(next[o][e], gradient, sum[o]);
        if constexpr (Norm) {
          const float h = channel_ + e < a_.width ? h_of(mix, next, e) : 0.0f;
#pragma unroll
          for (int o = 0; o < kStreams; ++o) sum[4 + o] = fmaf(next[o][e], h, sum[4 + o]);
          sum[8] = fmaf(h, h, sum[8]);
          sum[9] = fmaf(gradient, h, sum[9]);
        }
      }
    }
    scatter_sums<4 * kSums, 16, 4>(sums);
    const int first = scattered<4 * kSums, 16, 4>(), warp = thread_ / 32;
#pragma unroll
    for (int r = 0; r < kSums / 2; ++r) {
      const int s = (first + r) / kSums, v = (first + r) % kSums;
      part_[(warp * kTile + in_tile(s)) * kSums + v] = sums[r];
    }
    sync_team();
    float* to = a_.sums + ((int64_t{group_} * kTeams + team_) * a_.units + unit_) * kTile * kMostSums;
    for (int v = thread_; v < kTile * kSums; v += kTeamThreads) {
      float sum = part_[v];
#pragma unroll
      for (int w = 1; w < kTeamWarps; ++w) sum += part_[w * kTile * kSums + v];
      store1(to + v, sum);
    }
    sync_team();
    if (thread_ == 0) add_release(counters_.summed(team_), 1);
  }

  // The units' sums of tile k to the rest of the coefficients' backward. One warp of one of the group's blocks.
  MHC_FN void finish_mix(int k) const {
    GroupCounters::wait(counters_.summed(team_), k, kTeams, a_.units);
    const int count = a_.norm ? kMostSums : kStreams;
    const float* sums = a_.sums + (int64_t{group_} * kTeams + team_) * a_.units * kTile * kMostSums;
#pragma unroll 1
    for (int v = thread_; v < kTile * count; v += 32) {
      float sum = load_fresh(sums + v);
#pragma unroll 4
      for (int u = 1; u < a_.units; ++u) sum += load_fresh(sums + int64_t{u} * kTile * kMostSums + v);
      part_[v] = sum;
    }
    sync_warp();
    const int64_t token = first_token(k) + thread_;
    if (thread_ < kTile && token < a_.tokens) {
      const float* sum = part_ + thread_ * count;
      F d_pre[kStreams];
      float r = 1.0f, inner = 0.0f;
      if (a_.norm) {
        r = inv_rms_of(sum[8], a_.width, MHC_RMS_EPS_INSIDE, a_.norm_eps);
        inner = r * r * (sum[9] / static_cast<float>(a_.width));
        const Record record(a_.mix, token);
        store1(record.inv_rms(), r);
        store1(record.inner(), inner);
      }
#pragma unroll
      for (int o = 0; o < kStreams; ++o) d_pre[o] = set(a_.norm ? r * (sum[o] - inner * sum[4 + o]) : sum[o]);
      if (a_.mix.pre_from_layer) finish_pre<kStreams>(a_.mix, token, d_pre);
    }
    sync_warp();
    if (thread_ == 0) add_release(counters_.ready(team_), 1);
  }

  // g, c, inv_rms and inner of tile k's tokens; zeros behind the last.
  MHC_FN void bring_g(int k) const {
    for (int v = thread_; v < kTile * kGPitch; v += kTeamThreads) {
      const int t = v / kGPitch, j = v % kGPitch;
      const int64_t token = first_token(k) + t;
      const bool there = token < a_.tokens && j < kRecord && (j > kOutputs ? a_.norm : a_.mix.product);
      g_[v] = there ? load_fresh(Record(a_.mix, token).g + j) : 0.0f;
    }
    sync_team();
  }

  // Two of the lane's tokens at a time, which are a tensor core's eight tokens together.
  MHC_FN void apply(int k, const Slot<X, H>& in) {
#pragma unroll 1
    for (int p = 0; p < 2; ++p) {
      Quad<X> next[2][kStreams];
#pragma unroll
      for (int e = 0; e < 2; ++e) next_of(in, 2 * p + e, mix_of(in_tile(2 * p + e)), next[e]);
      if (a_.d_projection) to_projection(p, next);
      if (!a_.d_x) continue;
      float d[kStreams][2][4] = {};
      if (a_.mix.product) to_rows(p, d);
#pragma unroll
      for (int e = 0; e < 2; ++e) leave(k, in, 2 * p + e, e, next[e], d);
      if (a_.dots) put_dots(k, p);
    }
  }

  // d_projection[j][stream][channel] += sum of g[token][j] next[token][stream][channel] over eight tokens: channels are the
  // rows of the tensor core's a, outputs the columns of its b.
  MHC_FN void to_projection(int p, const Quad<X> (&next)[2][kStreams]) {
    const float* from = g_ + (8 * p + lane_token_) * kGPitch + thread_ % 32 / 4;
#pragma unroll
    for (int jt = 0; jt < 3; ++jt) {
      const float b[2] = {from[8 * jt], from[4 * kGPitch + 8 * jt]};
      const float b_high[2] = {high_part(b[0]), high_part(b[1])}, b_low[2] = {b[0] - b_high[0], b[1] - b_high[1]};
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          const float a[4] = {next[0][i][2 * q], next[0][i][2 * q + 1], next[1][i][2 * q], next[1][i][2 * q + 1]};
          float(&c)[4] = d_projection_[i][q][jt];
          if constexpr (sizeof(X) == 4) {
            const float high[4] = {high_part(a[0]), high_part(a[1]), high_part(a[2]), high_part(a[3])};
            const float low[4] = {a[0] - high[0], a[1] - high[1], a[2] - high[2], a[3] - high[3]};
            mma_tf32(c, high, b_high);
            mma_tf32(c, high, b_low);
            mma_tf32(c, low, b_high);
          } else {
            mma_tf32(c, a, b_high);
            mma_tf32(c, a, b_low);
          }
        }
      }
    }
  }

  // d[stream][channel / 2][channel % 2 * 2 + token] = g . projection, for the lane's channels and eight tokens.
  MHC_FN void to_rows(int p, float (&d)[kStreams][2][4]) const {
    const int column = thread_ % 32 / 4;  // of the tensor core's result, which token 4 * (column % 2) + column / 2 is
    const float* g = g_ + (8 * p + column / 2 + column % 2 * 4) * kGPitch + lane_token_;
    const float* weights = s_.projection + lane_token_ * kProjectionPitch + lane_channel_;
#pragma unroll
    for (int kt = 0; kt < 3; ++kt) {
      const float b[2] = {g[8 * kt], g[8 * kt + 4]};
      const float b_high[2] = {high_part(b[0]), high_part(b[1])}, b_low[2] = {b[0] - b_high[0], b[1] - b_high[1]};
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
        float top[4], bottom[4];
        load_floats(weights + 8 * kt * kProjectionPitch + i * kUnit, top);
        load_floats(weights + (8 * kt + 4) * kProjectionPitch + i * kUnit, bottom);
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          const float a[4] = {top[2 * q], top[2 * q + 1], bottom[2 * q], bottom[2 * q + 1]};
          const float high[4] = {high_part(a[0]), high_part(a[1]), high_part(a[2]), high_part(a[3])};
          const float low[4] = {a[0] - high[0], a[1] - high[1], a[2] - high[2], a[3] - high[3]};
          mma_tf32(d[i][q], low, b_high);
          mma_tf32(d[i][q], high, b_low);
          mma_tf32(d[i][q], high, b_high);
        }
      }
    }
  }

  // D of the lane's s-th token, the e-th of the two at hand, and what follows from it.
  MHC_FN void leave(int k, const Slot<X, H>& in, int s, int e, const Quad<X> (&next)[kStreams], const float (&product)[kStreams][2][4]) {
    const int64_t token = first_token(k) + in_tile(s), rest = left(token);
    const Mix mix = mix_of(in_tile(s));
    float dots[kDots] = {}, d[kStreams][kQuad];
    gradient_of_next(in, s, e, mix, next, product, d, dots + 20);
    if (a_.post) {
      float f[kQuad];
      f_of(in, s, f);
      to_layer(f, mix, d, token, rest, dots);
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
        const Quad<X> x = in.x(s, i);
        float d_x[kQuad] = {};
#pragma unroll
        for (int o = 0; o < kStreams; ++o) {
#pragma unroll
          for (int c = 0; c < kQuad; ++c) {
            d_x[c] = fmaf(mix.res[o * kStreams + i], d[o][c], d_x[c]);
            dots[4 + o * kStreams + i] = fmaf(d[o][c], x[c], dots[4 + o * kStreams + i]);
          }
        }
        put(rows_.d_x.at(token, i, channel_), d_x, rest);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kStreams; ++i) put(rows_.d_x.at(token, i, channel_), d[i], rest);
    }
    if (!a_.dots) return;
    scatter_sums<kDots, 16, 4>(dots);
    const int first = scattered<kDots, 16, 4>();
#pragma unroll
    for (int r = 0; r < kDots / 8; ++r) part_[(thread_ / 32 * 8 + lane_token_ + 4 * e) * kDots + first + r] = dots[r];
  }

  // D = d_x_next + pre dh + c next + g . projection; and <next, dh>.
  MHC_FN void gradient_of_next(const Slot<X, H>& in, int s, int e, const Mix& mix, const Quad<X> (&next)[kStreams],
                               const float (&product)[kStreams][2][4], float (&d)[kStreams][kQuad], float* d_pre) {
    const float* record = g_ + in_tile(s) * kGPitch + kOutputs;
    const float along = a_.mix.product ? record[0] : 0.0f;
    float dh[kQuad] = {};
    if (a_.layer) {
      const Quad<H> d_h = in.d_h(s);
#pragma unroll
      for (int c = 0; c < kQuad; ++c) {
        dh[c] = d_h[c];
        if (!a_.norm) continue;
        const float inv_rms = record[1], inner = record[2], h = h_of(mix, next, c);
        if (a_.d_norm) d_norm()[c] = fmaf(dh[c] * inv_rms, h, d_norm()[c]);
        dh[c] = inv_rms * (dh[c] * weight(c) - inner * h);
      }
    }
#pragma unroll
    for (int o = 0; o < kStreams; ++o) {
      Quad<X> d_next;
      d_next.clear();
      if (a_.d_x_next) d_next = in.d_next(s, o);
#pragma unroll
      for (int c = 0; c < kQuad; ++c) {
        d[o][c] = fmaf(mix.pre[o], dh[c], d_next[c]) + fmaf(along, next[o][c], product[o][c / 2][c % 2 * 2 + e]);
        d_pre[o] = fmaf(next[o][c], dh[c], d_pre[o]);
      }
    }
  }

  MHC_FN void to_layer(const float (&f)[kQuad], const Mix& mix, const float (&d)[kStreams][kQuad], int64_t token, int64_t rest, float* d_post) {
    float d_f[kQuad] = {};
#pragma unroll
    for (int o = 0; o < kStreams; ++o) {
#pragma unroll
      for (int c = 0; c < kQuad; ++c) {
        d_f[c] = fmaf(mix.post[o], d[o][c], d_f[c]);
        d_post[o] = fmaf(d[o][c], f[c], d_post[o]);
      }
    }
    put(rows_.d_f.at(token, channel_), d_f, rest);
  }

  template <class T>
  MHC_FN void put(T* to, float (&v)[kQuad], int64_t rest) const {
    const bool whole = a_.aligned && rest >= kQuad;
    if (a_.accumulate) {
      Quad<T> before;
      before.clear();
      if (whole) {
        load_bits(to, before.bits[0]);
      } else {
#pragma unroll
        for (int e = 0; e < kQuad; ++e) {
          if (e < rest) before.put(e, load1(to + e));
        }
      }
#pragma unroll
      for (int e = 0; e < kQuad; ++e) v[e] = v[e] + before[e];
    }
    Quad<T> quad;
    quad.set(v);
    if (whole) return store_bits(to, quad.bits[0]);
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      if (e < rest) store1(to + e, quad.element(e));
    }
  }
  static MHC_FN void load_bits(const void* p, Bits8& bits) { bits = load8(p); }
  static MHC_FN void load_bits(const void* p, Bits16& bits) { bits = load16_once(p); }
  static MHC_FN void store_bits(void* p, const Bits8& bits) { store8(p, bits); }
  static MHC_FN void store_bits(void* p, const Bits16& bits) { store16_once(p, bits); }

  // The unit's dot products of eight tokens, to memory.
  MHC_FN void put_dots(int k, int p) const {
    sync_team();
    for (int v = thread_; v < 8 * kDots; v += kTeamThreads) {
      const int64_t token = first_token(k) + 8 * p + v / kDots;
      if (token >= a_.tokens) break;
      float sum = part_[v];
#pragma unroll
      for (int w = 1; w < kTeamWarps; ++w) sum += part_[w * 8 * kDots + v];
      store1(a_.dot_parts + (token * a_.units + unit_) * kDots + v % kDots, sum);
    }
    sync_team();
  }

  // The team's sums over its tokens.
  MHC_FN void put_weights() {
    const int64_t part = group_ * kTeams + team_;
    if (a_.d_projection) {
#pragma unroll
      for (int i = 0; i < kStreams; ++i) {
#pragma unroll
        for (int j = 0; j < 6; ++j) {  // outputs 8 * (j / 2) + 2 * lane_token + j % 2
          const int output = j / 2 * 8 + 2 * lane_token_ + j % 2;
          Quad<float> quad;
#pragma unroll
          for (int c = 0; c < kQuad; ++c) {
            quad.bits[0].word[c] = bits_from_float(d_projection_[i][c / 2][j / 2][c % 2 * 2 + j % 2]);
          }
          store16(a_.parts.projection + ((part * kOutputs + output) * kStreams + i) * a_.parts.pitch + channel_, quad.bits[0]);
        }
      }
    }
    if (!a_.d_norm) return;
#pragma unroll
    for (int e = 0; e < kQuad; ++e) {
      float sum = d_norm()[e];
      sum = sum + shuffle_xor(sum, 1);
      sum = sum + shuffle_xor(sum, 2);
      if (lane_token_ == 0) store1(a_.parts.norm + part * a_.parts.pitch + channel_ + e, sum);
    }
  }

  const Arguments& a_;
  const BackwardRows<X, H>& rows_;
  const Shared& s_;
  const int team_, thread_, unit_, group_;
  const GroupCounters counters_;
  int lane_token_, lane_channel_;
  int channel_;
  float *g_, *mix_, *part_;
  AsyncCopies copies_;
  float d_projection_[kStreams][2][3][4] = {};  // [stream][channel / 2][output / 8][...]
};

template <class X, class H>
MHC_KERNEL(kBlockThreads) pass_backward_kernel(MHC_CONSTANT Arguments a, MHC_CONSTANT BackwardRows<X, H> rows) {
  const Shared s(shared_memory());
  if (a.mix.product && a.d_x) {
    UnitColumns<kOutputs, kStreams, kUnit, kProjectionPitch>(a.projection, static_cast<int>(block_index() % a.units))
        .bring(s.projection, s.barrier);
  }
  Team<X, H>(a, rows, s).run();
  GroupCounters(a.counters, static_cast<int>(block_index() / a.units)).leave(a.units);
}

struct Dots {
  int64_t tokens;
  int units;
  bool in_out;
  const float* parts;
  Array<float> d_post_mix, d_res_mix, d_shifted_pre_mix;
};

// The units' parts of a dot product, one to a thread.
MHC_KERNEL(kThreads) dots_kernel(const Dots a) {
  for_each_of(a.tokens * kDots, [&](int64_t index) {
    const int64_t token = index / kDots;
    const int k = static_cast<int>(index % kDots), o = (k - 4) / kStreams, i = (k - 4) % kStreams;
    float* to = nullptr;
    if (k < 4) {
      if (a.d_post_mix) to = a.d_post_mix.at(token, k);
    } else if (k < 20) {
      if (a.d_res_mix) to = a.d_res_mix.at(token, a.in_out ? i : o, a.in_out ? o : i);
    } else if (a.d_shifted_pre_mix) {
      to = a.d_shifted_pre_mix.at(token, k - 20);
    }
    if (!to) return;
    const float* part = a.parts + token * a.units * kDots + k;
    float sum = load1(part);
    for (int u = 1; u < a.units; ++u) sum += load1(part + u * kDots);
    store1(to, sum);
  });
}

int units_of(int64_t width) { return static_cast<int>((width + kUnit - 1) / kUnit); }
int groups_of(const Sizes& sizes, const DeviceProperties& device) {
  int64_t tiles = (sizes.tokens + kTile - 1) / kTile, groups = device.multiprocessors / units_of(sizes.width);
  int64_t most = kCounters / GroupCounters::kOfGroup;
  groups = groups < most ? groups : most;
  return static_cast<int>(groups < tiles ? groups : tiles);
}
bool wants_dots(const BoundaryBackwardProblem& p) { return p.f || p.d_shifted_pre_mix; }

struct Space {
  char* mix;
  float *sums, *dots;
  WeightParts parts;
  size_t bytes;

  Space(const BoundaryBackwardProblem& p, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    const int64_t units = units_of(p.sizes.width), teams = int64_t{groups_of(p.sizes, device)} * kTeams;
    mix = pieces.take<char>(static_cast<int64_t>(mix_backward_space(p, device)));
    sums = pieces.take<float>(teams * units * kTile * kMostSums);
    dots = pieces.take<float>(wants_dots(p) ? p.sizes.tokens * units * kDots : 0);
    parts = {static_cast<int>(teams), units * kUnit, nullptr, nullptr};
    if (wants_projection(p)) parts.projection = pieces.take<float>(teams * kOutputs * kStreams * parts.pitch);
    if (p.d_norm_weight) parts.norm = pieces.take<float>(teams * parts.pitch);
    bytes = pieces.used();
  }
};

Arguments arguments_of(const BoundaryBackwardProblem& p, const Space& space, Job& job) {
  Arguments a = {};
  a.mix = mix_backward_of(p, job.device, space.mix);
  a.tokens = p.sizes.tokens;
  a.width = p.sizes.width;
  a.tiles = static_cast<int>((p.sizes.tokens + kTile - 1) / kTile);
  a.units = units_of(p.sizes.width);
  a.groups = groups_of(p.sizes, job.device);
  a.post = p.f.given;
  a.layer = p.d_h.given;
  a.norm = p.norm_weight.given;
  a.scan = a.layer && (a.norm || a.mix.pre_from_layer);
  a.d_x_next = p.d_x_next.given;
  a.d_x = p.d_x.given;
  a.d_projection = wants_projection(p);
  a.d_norm = p.d_norm_weight.given;
  a.dots = wants_dots(p);
  a.accumulate = p.accumulate_inputs;
  a.in_out = p.config.orientation == MHC_IN_OUT;
  a.aligned = rows_aligned(p.x) && rows_aligned(p.d_x_next) && layer_output_aligned(p.f) && rows_aligned(p.d_h) && rows_aligned(p.d_x) &&
              rows_aligned(p.d_f);
  a.norm_eps = p.norm_eps;
  a.projection = {Array<const float>(p.parameters.projection), Array<const float>(p.parameters.norm_weight), p.sizes.width,
                  rows_aligned(p.parameters.projection) && p.sizes.width % 4 == 0 && !p.parameters.norm_weight};
  a.post_mix = Array<const float>(p.post_mix);
  a.res_mix = Array<const float>(p.res_mix);
  a.norm_weight = Array<const float>(p.norm_weight);
  a.sums = space.sums;
  a.dot_parts = space.dots;
  a.parts = space.parts;
  a.counters = job.counters;
  return a;
}

}  // namespace

bool pass_backward_fits(const BoundaryBackwardProblem& p, const DeviceProperties& device) {
  size_t slot = 0;
  with_rows(p, [&]<class X, class H>(const BackwardRows<X, H>&) { slot = Shared::slot_bytes<X, H>(); });
  return p.sizes.streams == kStreams && p.sizes.mix_count == kOutputs && units_of(p.sizes.width) <= device.multiprocessors &&
         p.sizes.tokens < (int64_t{1} << 34) && device.shared_bytes >= Shared::kFixed + kTeams * slot;
}

size_t pass_backward_space(const BoundaryBackwardProblem& p, const DeviceProperties& device) { return Space(p, device, nullptr).bytes; }

void run_pass_backward(const BoundaryBackwardProblem& p, Job& job) {
  const Space space(p, job.device, job.workspace);
  Arguments a = arguments_of(p, space, job);
  start_mix_backward(p, a.mix, space.mix, job);
  with_rows(p, [&]<class X, class H>(const BackwardRows<X, H>& rows) {
    const size_t slot = kTeams * Shared::slot_bytes<X, H>();
    a.slots = job.device.shared_bytes >= Shared::kFixed + 2 * slot ? 2 : 1;
    job.launch({int64_t{a.groups} * a.units, kBlockThreads, Shared::kFixed + static_cast<size_t>(a.slots) * slot, true},
               pass_backward_kernel<X, H>, a, rows);
  });
  if (a.dots) {
    job.launch(share(a.tokens * kDots, job.device), dots_kernel,
               Dots{a.tokens, a.units, a.in_out, space.dots, Array<float>(p.d_post_mix), Array<float>(p.d_res_mix), Array<float>(p.d_shifted_pre_mix)});
  }
  finish_mix_backward(p, a.mix, job);
  sum_weight_gradients(p, space.parts, job);
}

}  // namespace mhc::cuda
