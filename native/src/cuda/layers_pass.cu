// SPDX-License-Identifier: Apache-2.0
// As in the single pass (pass.cu) a group of blocks shares a residual's width, a unit of 256 channels each, and meets in L2
// for the sums that coefficients are made of. But here a tile stays in the shared memory of its blocks until it has been
// through all layers, while the unit's part of the projection changes with the layer.
//
// So that nobody waits for coefficients, a block holds two or three tiles. In a round each of them goes through one layer;
// behind the last layer the next tiles take the places. Visits are numbered, round * held + place, and two teams of eight
// warps take them in turn: while one multiplies, the other mixes.
//
//   visit         wait for the coefficients of the round before | h, post, round to storage, keep | product | sums, arrive
//   last of round                                                | projection of the next layer: bulk copies from L2
//   coefficients  wait for all units of a visit, add them in order, activate, Sinkhorn, say ready
//
// The arithmetic and its order are those of the single pass, bit for bit.
#include "cuda/layers_pass.h"

#include <cstring>

#include "cuda/layer_output.h"
#include "cuda/mixes.h"
#include "cuda/pass.h"
#include "cuda/tile_coefficients.h"

namespace mhc::cuda {
namespace {

using namespace tile;

constexpr int kTeams = 2, kTeamThreads = kTeams * kStreamThreads, kBlockThreads = kTeamThreads + kCoefficientThreads;
constexpr int kLeastHeld = kTeams, kMostHeld = 3;
constexpr int kMostLayers = 64;
enum BarrierId { kProjectionFree = 1, kProjectionReady, kCoefficientBarrier, kTeamBarrier };  // and one for each further team

// A layer as the kernel finds it in memory.
template <class X>
struct alignas(16) Layer {
  CoefficientArrays out;
  ProjectionColumns projection;
  const float *scale, *bias;
  LayerOutput<X> f;
  Array<X> x, h;
};
template <class T>
MHC_FN Array<T> load_array(const Array<T>* p) {
  Array<T> array;
  array.data = load1(&p->data);
#pragma unroll
  for (int d = 0; d < 3; ++d) array.stride[d] = load1(&p->stride[d]);
  return array;
}
template <class X>
MHC_FN LayerOutput<X> load_layer_output(const LayerOutput<X>* p) {
  LayerOutput<X> f;
  f.rows = load_array(&p->rows);
  f.scale.data = load1(&p->scale.data);
  f.scale.stride[0] = load1(&p->scale.stride[0]);
  f.scale.stride[1] = load1(&p->scale.stride[1]);
  f.scale.e8m0 = load1(&p->scale.e8m0);
  return f;
}
MHC_FN ProjectionColumns load_columns(const ProjectionColumns* p) {
  return {load_array(&p->projection), load_array(&p->norm), load1(&p->width), load1(&p->aligned)};
}

template <class X>
struct Arguments {
  int64_t tokens, width;
  int tiles, units, groups;
  int held;  // tiles in a block
  bool in_out, aligned, shifted;
  mhc_config config;
  Array<const float> shifted_pre_mix;
  int layers;
  const Layer<X>* layer;
  Array<const X> x;
  Array<X> x_next;
  float* sums;  // [group][place][unit][token][value]
  uint32_t* counters;
};

// Rounds of a group, and the tiles in them.
struct Rounds {
  int held, layers, tiles, count;

  template <class X>
  MHC_FN Rounds(const Arguments<X>& a, int group)
      : held(a.held), layers(a.layers), tiles(group < a.tiles ? (a.tiles - 1 - group) / a.groups + 1 : 0),
        count((tiles + held - 1) / held * layers) {}

  // The group's k-th tile, or -1 where a place is empty.
  MHC_FN int tile(int round, int place) const {
    if (round < 0 || round >= count) return -1;
    const int k = round / layers * held + place;
    return k < tiles ? k : -1;
  }
};

// Shared memory, in order.
struct Shared {
  float *projection, *parts, *mix;
  CoefficientArrays* out;  // of the layer whose coefficients are made
  BulkBarrier* barrier;
  Bits16* rows;  // [place][piece word][thread]

  static constexpr size_t kFixed =
      sizeof(float) * (kProjectionSize + kTeams * kPartsSize + kMixSize) + sizeof(CoefficientArrays) + sizeof(BulkBarrier);

  MHC_FN explicit Shared(char* base) {
    projection = reinterpret_cast<float*>(base);
    parts = projection + kProjectionSize;
    mix = parts + kTeams * kPartsSize;
    out = reinterpret_cast<CoefficientArrays*>(mix + kMixSize);
    barrier = reinterpret_cast<BulkBarrier*>(out + 1);
    rows = reinterpret_cast<Bits16*>(barrier + 1);
  }
};

template <class X>
MHC_FN float* sums_of(const Arguments<X>& a, int group, int place) {
  return a.sums + (int64_t{group} * a.held + place) * a.units * kSumsSize;
}

// A team at a visit.
template <class X>
class Team {
 public:
  MHC_FN Team(const Arguments<X>& a, int visit)
      : a_(a), s_(shared_memory()), unit_(static_cast<int>(block_index()) % a.units),
        group_(static_cast<int>(block_index()) / a.units), team_(thread_index() / kStreamThreads), visit_(visit),
        round_(visit / a.held), hold_(visit % a.held), counters_(a.counters, group_), rounds_(a, group_), place_(thread_index() % kStreamThreads, unit_) {}

  // The coefficients of the round before; meanwhile f comes nearer.
  MHC_FN void await_coefficients() const {
    const int tile = rounds_.tile(round_ - 1, hold_);
    if (tile < 0) return;
    const Array<const X> f = load_array(&layer_before()->f.rows);
    const bool fp8 = load1(&layer_before()->f.scale.data) != nullptr;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t t = token(tile, r);
      if (f && left(t) > 0) prefetch(reinterpret_cast<const char*>(f.data) + (t * f.stride[0] + place_.channel) * (fp8 ? 1 : 2));
    }
    GroupCounters::wait(counters_.ready(hold_), round_ - 1, 1, 1);
  }

  // One of the thread's two tokens: its rows of the round before leave their layer, those of this round are in place. The
  // sum of their squares.
  MHC_FN float enter(int r) const {
    const int before = rounds_.tile(round_ - 1, hold_), now = rounds_.tile(round_, hold_);
    const bool first_layer = round_ % a_.layers == 0;
    float squares = 0.0f;
    if (before >= 0) squares = leave(before, r, first_layer);
    if (now >= 0 && first_layer) squares = begin(now, r);
    return squares;
  }

  MHC_FN void multiply(const float (&squares)[2]) const {
    if (round_ == rounds_.count) return;
    if (round_ > 0 && visit_ - kTeams < round_ * a_.held) await_projection();
    if (rounds_.tile(round_, hold_) >= 0) product(squares);
    if (round_ + 1 < rounds_.count && visit_ + kTeams >= (round_ + 1) * a_.held) change_projection();
  }

 private:
  MHC_FN int64_t token(int k, int r) const { return (int64_t{k} * a_.groups + group_) * kTile + place_.token + 8 * r; }
  MHC_FN int64_t left(int64_t token) const { return token < a_.tokens ? a_.width - place_.channel : 0; }
  MHC_FN Bits16* rows() const { return s_.rows + hold_ * kRowWords<X> + place_.thread; }
  MHC_FN void sync_team() const { sync_threads(kTeamBarrier + team_, kStreamThreads); }

  MHC_FN const Layer<X>* layer_before() const { return a_.layer + (round_ - 1) % a_.layers; }

  MHC_FN float begin(int tile, int r) const {
    const int64_t t = token(tile, r), rest = left(t);
    const Array<X> copy = load_array(&a_.layer->x);
    Piece<X> in[kStreams];
#pragma unroll
    for (int i = 0; i < kStreams; ++i) in[i] = load_piece(a_.x.at(t, i, place_.channel), rest, a_.aligned);
    if (copy) {
#pragma unroll
      for (int i = 0; i < kStreams; ++i) store_piece(copy.at(t, i, place_.channel), in[i], rest, a_.aligned);
    }
    if (a_.shifted) layer_input(load_array(&a_.layer->h), a_.shifted_pre_mix, t, in);
    return keep(r, in);
  }

  MHC_FN float leave(int tile, int r, bool last) const {
    const Layer<X>* layer = layer_before();
    const int64_t t = token(tile, r), rest = left(t);
    Piece<X> in[kStreams];
#pragma unroll
    for (int i = 0; i < kStreams; ++i) in[i] = get<X>(rows(), r * kStreams + i);
    if (!a_.shifted) layer_input(load_array(&layer->h), load_array(&layer->out.pre_mix), t, in);
    if (last && !a_.x_next) return 0.0f;
    if (rest > 0) post(*layer, t, rest, last, in);
    if (last) return 0.0f;
    if (a_.shifted) layer_input(load_array(&layer[1].h), load_array(&layer->out.pre_mix), t, in);
    return keep(r, in);
  }

  // The residual behind a layer, from the one in front of it.
  MHC_FN void post(const Layer<X>& layer, int64_t t, int64_t rest, bool last, Piece<X> (&rows)[kStreams]) const {
    const LayerOutput<X> layer_output = load_layer_output(&layer.f);
    const Piece<X> piece = layer_output.load(t, place_.channel, rest, a_.aligned);
    PostMix<kStreams> mix;
    mix.template load<Made::Meanwhile>(load_array(&layer.out.post_mix), load_array(&layer.out.res_mix), a_.in_out, t, kStreams);
    layer_output.with_values(piece, [&](const auto& f) MHC_INLINE {
#pragma unroll
      for (int e = 0; e < kPiece; e += 2) {  // two channels at a time, in place
        X next[2][kStreams];
#pragma unroll
        for (int c = 0; c < 2; ++c) {
#pragma unroll
          for (int o = 0; o < kStreams; ++o) {
            narrowed(mix.next(o, [&](auto i) MHC_INLINE { return rows[i][e + c]; }, f[e + c], kStreams), next[c][o]);
          }
        }
#pragma unroll
        for (int o = 0; o < kStreams; ++o) rows[o].replace_two(e, next[0][o], next[1][o]);
      }
    });
    const Array<X> to = last ? a_.x_next : load_array(&(&layer)[1].x);
#pragma unroll
    for (int o = 0; o < kStreams; ++o) {
      if (rest < kPiece) rows[o] = first_of(rows[o], rest);
      if (to) store_piece(to.at(t, o, place_.channel), rows[o], rest, a_.aligned);
    }
  }

  // A token's rows to shared memory; their squares.
  MHC_FN float keep(int r, const Piece<X> (&in)[kStreams]) const {
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < kStreams; ++i) {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) squares = fmaf(in[i][e], in[i][e], squares);
      put(rows(), r * kStreams + i, in[i]);
    }
    return squares;
  }

  template <class Mix>
  MHC_FN void layer_input(const Array<X>& h, const Array<Mix>& pre_mix, int64_t t, const Piece<X> (&rows)[kStreams]) const {
    const int64_t rest = left(t);
    if (!h || rest <= 0) return;
    float pre[kStreams], out[kPiece];
#pragma unroll
    for (int i = 0; i < kStreams; ++i) pre[i] = load_fresh(pre_mix.at(t, i));
#pragma unroll
    for (int e = 0; e < kPiece; ++e) {
      out[e] = pre_value<kStreams>([&](auto i) MHC_INLINE { return pre[i]; }, [&](auto i) MHC_INLINE { return rows[i][e]; }, kStreams);
    }
    store_values(h.at(t, place_.channel), out, rest, a_.aligned);
  }

  // The unit's sums of the rows in place, to memory.
  MHC_FN void product(const float (&squares)[2]) const {
    sync_warp();
    float* parts = s_.parts + team_ * kPartsSize;
    put_parts<X>(place_, s_.projection, rows(), squares, a_.config.projection_precision == MHC_PROJECTION_TF32, parts);
    sync_team();
    store_sums(place_, parts, sums_of(a_, group_, hold_) + unit_ * kSumsSize);
    sync_team();
    if (place_.thread == 0) add_release(counters_.summed(hold_), 1);
  }

  // Behind a team's last product of a round. The one that has the last visit brings the next layer's projection.
  MHC_FN int changer(int round) const { return ((round + 1) * a_.held - 1) % kTeams; }
  MHC_FN void change_projection() const {
    if (changer(round_) != team_) return arrive_threads(kProjectionFree, kTeamThreads);
    sync_threads(kProjectionFree, kTeamThreads);
    const Columns columns(load_columns(&a_.layer[(round_ + 1) % a_.layers].projection), unit_);
    if constexpr (has_bulk_copy()) {
      if (place_.warp == 0) columns.start_copies(s_.projection, s_.barrier, true);
    } else {
      columns.fill(s_.projection, place_.thread, kStreamThreads);
      sync_team();
    }
    arrive_threads(kProjectionReady, kTeamThreads);
  }
  MHC_FN void await_projection() const {
    if (changer(round_ - 1) != team_) sync_threads(kProjectionReady, kTeamThreads);
    if constexpr (has_bulk_copy()) bulk_wait(s_.barrier, round_);
  }

  const Arguments<X>& a_;
  const Shared s_;
  const int unit_, group_, team_, visit_, round_, hold_;
  const GroupCounters counters_;
  const Rounds rounds_;
  const Place place_;
};

// Apart, so that the registers of one do not add to the other's.
template <class X>
MHC_APART void bring_first_projection(const Arguments<X>& a) {
  const Shared s(shared_memory());
  Columns(load_columns(&a.layer->projection), static_cast<int>(block_index()) % a.units).bring(s.projection, s.barrier);
}
template <class X>
MHC_APART void await_coefficients(const Arguments<X>& a, int visit) {
  Team<X>(a, visit).await_coefficients();
}
template <class X>
MHC_APART float enter(const Arguments<X>& a, int visit, int r) {
  return Team<X>(a, visit).enter(r);
}
template <class X>
MHC_APART void multiply(const Arguments<X>& a, int visit, float squares0, float squares1) {
  Team<X>(a, visit).multiply({squares0, squares1});
}
template <class X>
MHC_APART void visits_of_team(const Arguments<X>& a) {
  const Rounds rounds(a, static_cast<int>(block_index()) / a.units);
  for (int v = thread_index() / kStreamThreads; v < (rounds.count + 1) * a.held; v += kTeams) {
    await_coefficients(a, v);
    const float first = enter(a, v, 0), second = enter(a, v, 1);
    multiply(a, v, first, second);
  }
}

// Visits unit, unit + units ... of the group: their units' sums to coefficients.
template <class X>
MHC_APART void coefficients_of_group(const Arguments<X>& a) {
  const Shared s(shared_memory());
  const int unit = static_cast<int>(block_index()) % a.units, group = static_cast<int>(block_index()) / a.units;
  const int thread = thread_index() - kTeamThreads;
  const GroupCounters counters(a.counters, group);
  const Rounds rounds(a, group);
  for (int v = unit; v < rounds.count * a.held; v += a.units) {
    const int round = v / a.held, place = v % a.held, tile = rounds.tile(round, place);
    if (tile < 0) continue;
    const Layer<X>& layer = a.layer[round % a.layers];
    constexpr int kWords = sizeof(CoefficientArrays) / sizeof(Bits16);
    if (thread < kWords) reinterpret_cast<Bits16*>(s.out)[thread] = load16(reinterpret_cast<const Bits16*>(&layer.out) + thread);
    GroupCounters::wait(counters.summed(place), round, 1, a.units);
    make_coefficients({a.tokens, a.width, a.units, a.config, load1(&layer.scale), load1(&layer.bias)}, sums_of(a, group, place),
                      (int64_t{tile} * a.groups + group) * kTile, *s.out, s.mix, thread, kCoefficientBarrier);
    if (thread == 0) add_release(counters.ready(place), 1);
  }
}

template <class X>
MHC_KERNEL(kBlockThreads) layers_kernel(MHC_CONSTANT Arguments<X> a) {
  bring_first_projection(a);
  if (thread_index() < kTeamThreads) {
    visits_of_team(a);
  } else {
    coefficients_of_group(a);
  }
  GroupCounters(a.counters, static_cast<int>(block_index()) / a.units).leave(a.units);
}

// Layers on their way to the device's memory, as arguments of a kernel: no copy that a captured graph would repeat from the
// caller's memory.
constexpr int kAtOnce = 8;
template <class X>
struct LayersAtOnce {
  Layer<X> layer[kAtOnce];
};
template <class X>
MHC_KERNEL(kThreads) table_kernel(const int words, MHC_CONSTANT LayersAtOnce<X> from, Layer<X>* to) {
  if (thread_index() >= words) return;
  Bits16 word;
  memcpy(&word, reinterpret_cast<const char*>(&from) + sizeof word * thread_index(), sizeof word);
  store16(reinterpret_cast<char*>(to) + sizeof word * thread_index(), word);
}

bool all_aligned(const RecomputeProblem& p) {
  bool aligned = rows_aligned(p.x) && rows_aligned(p.x_next);
  for (int32_t l = 0; aligned && l < p.layers; ++l) {
    const RecomputeLayerViews layer = p.at(l);
    aligned = layer_output_aligned(layer.f) && rows_aligned(layer.x) && rows_aligned(layer.h);
  }
  return aligned;
}

// A projection that cannot be copied in bulk as it is: with norm_weight, or with rows at odd places.
bool needs_copy(const ParameterViews& p, int64_t width) { return width % 4 != 0 || !rows_aligned(p.projection) || p.norm_weight; }
int64_t copied_width(int64_t width) { return (width + 3) / 4 * 4; }
int64_t copied_size(int64_t width) { return kOutputs * kStreams * copied_width(width); }

// To [output][stream][copied width], times norm_weight; zeros where the width ends.
MHC_KERNEL(kThreads) copy_projection_kernel(const int64_t width, const int64_t pitch, const Array<const float> projection,
                                            const Array<const float> norm, float* to) {
  for_each_of(kOutputs * kStreams * pitch, [&](int64_t index) {
    const int64_t c = index % pitch, i = index / pitch % kStreams, o = index / pitch / kStreams;
    float value = 0.0f;
    if (c < width) {
      value = load1(projection.at(o) + i * width + c);
      if (norm) value = value * load1(norm.at() + i * width + c);
    }
    store1(to + index, value);
  });
}

// Known by shapes alone: there is room to copy all projections, wherever they lie.
struct Space {
  float *sums, *projections;
  char* layers;
  size_t bytes;

  Space(const RecomputeProblem& p, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    sums = pieces.take<float>(int64_t{groups_of(p.sizes, device)} * kMostHeld * units_of(p.sizes.width) * kSumsSize);
    projections = pieces.take<float>(p.layers * copied_size(p.sizes.width));
    layers = pieces.take<char>(p.layers * static_cast<int64_t>(sizeof(Layer<bf16>)));
    bytes = pieces.used();
  }
};

// Where the kernel finds a layer's projection; next moves on where that is a copy.
ProjectionColumns columns_of(const ParameterViews& p, int64_t width, float*& next, Job& job) {
  const Array<const float> projection(p.projection);
  if (!needs_copy(p, width)) return {projection, {}, width, true};
  const int64_t size = copied_size(width);
  job.launch(share(size, job.device), copy_projection_kernel, width, copied_width(width), projection,
             Array<const float>(p.norm_weight), next);
  Array<const float> copied;
  copied.data = next;
  copied.stride[0] = kStreams * copied_width(width);
  copied.stride[1] = 1;
  next += size;
  return {copied, {}, copied_width(width), true};
}

template <class X>
void write_table(const RecomputeProblem& p, const Space& space, Job& job) {
  float* next = space.projections;
  auto* to = reinterpret_cast<Layer<X>*>(space.layers);
  for (int32_t first = 0; first < p.layers; first += kAtOnce) {
    const int32_t count = p.layers - first < kAtOnce ? p.layers - first : kAtOnce;
    LayersAtOnce<X> some = {};
    for (int32_t l = 0; l < count; ++l) {
      const RecomputeLayerViews v = p.at(first + l);
      some.layer[l] = {CoefficientArrays(v.out), columns_of(v.parameters, p.sizes.width, next, job),
                       Array<const float>(v.parameters.scale).data, Array<const float>(v.parameters.bias).data,
                       LayerOutput<X>(v.f, v.f_scale), Array<X>(v.x), Array<X>(v.h)};
    }
    const int words = static_cast<int>(count * sizeof(Layer<X>) / sizeof(Bits16));
    job.launch({1, kThreads}, table_kernel<X>, words, some, to + first);
  }
}

template <class X>
constexpr size_t kTileBytes = kRowWords<X> * sizeof(Bits16);
static_assert(kTileBytes<bf16> == kTileBytes<f16> && sizeof(Layer<bf16>) == sizeof(Layer<f16>));
static_assert(kAtOnce * sizeof(Layer<bf16>) / sizeof(Bits16) <= kThreads);

// Tiles in a block: as many as there is room for, up to three, and about as many in each batch.
int held_of(const RecomputeProblem& p, int groups, const DeviceProperties& device) {
  const int64_t room = static_cast<int64_t>((device.shared_bytes - Shared::kFixed) / kTileBytes<bf16>);
  const int64_t most = room < kMostHeld ? room : kMostHeld, tiles = (tiles_of(p.sizes.tokens) + groups - 1) / groups;
  const int64_t batches = (tiles + most - 1) / most, held = (tiles + batches - 1) / batches;
  return static_cast<int>(held < kLeastHeld ? kLeastHeld : held);
}

}  // namespace

bool layers_pass_fits(const RecomputeProblem& p, const DeviceProperties& device) {
  const int64_t visits = (tiles_of(p.sizes.tokens) + kMostHeld) * p.layers;
  return pass_fits(p.sizes, p.config, device) && size_of(p.x.type) == 2 && p.layers <= kMostLayers &&
         visits * units_of(p.sizes.width) < (int64_t{1} << 31) &&
         device.shared_bytes >= Shared::kFixed + kLeastHeld * kTileBytes<bf16>;
}

size_t layers_pass_space(const RecomputeProblem& p, const DeviceProperties& device) { return Space(p, device, nullptr).bytes; }

void run_layers_pass(const RecomputeProblem& p, Job& job) {
  if (p.sizes.tokens == 0) return;
  const Space space(p, job.device, job.workspace);
  auto run = [&](auto type) {
    using X = decltype(type);
    write_table<X>(p, space, job);
    Arguments<X> a = {};
    a.tokens = p.sizes.tokens;
    a.width = p.sizes.width;
    a.tiles = static_cast<int>(tiles_of(p.sizes.tokens));
    a.units = units_of(p.sizes.width);
    a.groups = groups_of(p.sizes, job.device);
    a.held = held_of(p, a.groups, job.device);
    a.in_out = p.config.orientation == MHC_IN_OUT;
    a.aligned = all_aligned(p);
    a.shifted = p.shifted_pre_mix.given;
    a.config = p.config;
    a.shifted_pre_mix = Array<const float>(p.shifted_pre_mix);
    a.layers = p.layers;
    a.layer = reinterpret_cast<const Layer<X>*>(space.layers);
    a.x = Array<const X>(p.x);
    a.x_next = Array<X>(p.x_next);
    a.sums = space.sums;
    a.counters = job.counters;
    job.launch({int64_t{a.groups} * a.units, kBlockThreads, Shared::kFixed + a.held * kTileBytes<X>, true}, layers_kernel<X>, a);
  };
  p.x.type == DType::BF16 ? run(bf16{}) : run(f16{});
}

}  // namespace mhc::cuda
