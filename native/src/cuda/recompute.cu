// SPDX-License-Identifier: Apache-2.0
// All layers in one kernel where it is made for the problem; elsewhere boundary after boundary over some of the tokens at a
// time, so that a residual that nobody asked for needs little workspace.
#include "cuda/layers_pass.h"
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

constexpr int64_t kResidualBytes = int64_t{32} << 20, kLeastTokens = 256;

int64_t bytes_of_token(const RecomputeProblem& p) {
  return p.sizes.streams * p.sizes.width * static_cast<int64_t>(size_of(p.x.type));
}
// How many tokens go through all layers together.
int64_t tokens_at_once(const RecomputeProblem& p) {
  int64_t most = kResidualBytes / bytes_of_token(p) / kLeastTokens * kLeastTokens;
  if (most < kLeastTokens) most = kLeastTokens;
  return p.sizes.tokens < most ? p.sizes.tokens : most;
}

// Some of the tokens of a tensor whose first dimension they are.
struct Part {
  int64_t first, count;

  View of(View view) const {
    if (!view.given) return view;
    view.data += first * view.stride[0] * static_cast<int64_t>(size_of(view.type));
    view.shape[0] = count;
    return view;
  }
  CoefficientViews of(const CoefficientViews& v) const {
    return {of(v.pre_mix), of(v.post_mix), of(v.res_mix), of(v.mix), of(v.inv_rms)};
  }
};

// A compact [tokens, n, C] tensor in the workspace.
View residual_at(char* data, const RecomputeProblem& p, int64_t tokens) {
  View view = p.x;
  view.data = data;
  view.shape[0] = tokens;
  view.stride[0] = p.sizes.streams * p.sizes.width;
  view.stride[1] = p.sizes.width;
  return view;
}

struct Walk {
  const RecomputeProblem& p;
  char* kept[2];  // residuals that have no other place, taking turns

  Sizes sizes_of(const Part& part) const {
    Sizes sizes = p.sizes;
    sizes.tokens = part.count;
    return sizes;
  }
  // The residual that enters layer l.
  View entering(int32_t l, const Part& part) const {
    if (l == 0) return part.of(p.x);
    const View x = p.at(l).x;
    return x ? part.of(x) : residual_at(kept[l % 2], p, part.count);
  }
  BoundaryProblem boundary_of(int32_t l, const Part& part) const {
    const RecomputeLayerViews layer = p.at(l);
    BoundaryProblem b = {};
    b.sizes = sizes_of(part);
    b.config = p.config;
    b.parameters = layer.parameters;
    b.x = entering(l > 0 ? l - 1 : 0, part);
    View shifted = p.shifted_pre_mix;
    if (l > 0) {
      const RecomputeLayerViews before = p.at(l - 1);
      b.f = part.of(before.f);
    b.f_scale = part.of(before.f_scale);
      b.post_mix = part.of(before.out.post_mix);
      b.res_mix = part.of(before.out.res_mix);
      b.x_next = entering(l, part);
      shifted = before.out.pre_mix;
    }
    if (p.shifted_pre_mix) b.shifted_pre_mix = part.of(shifted);
    b.next = part.of(layer.out);
    b.h = part.of(layer.h);
    b.layer_type = p.layer_type;
    return b;
  }
};

struct Space {
  char *kept[2], *boundary;
  size_t bytes;

  Space(const RecomputeProblem& p, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    const Part part{0, tokens_at_once(p)};
    bool odd = false, even = false;  // layers whose residual is to be kept
    size_t most = 0;
    const Walk walk{p, {nullptr, nullptr}};
    for (int32_t l = 0; l < p.layers; ++l) {
      if (l > 0 && !p.at(l).x) (l % 2 ? odd : even) = true;
      const size_t wanted = boundary_space(walk.boundary_of(l, part), device);
      most = wanted > most ? wanted : most;
    }
    kept[0] = pieces.take<char>(even ? part.count * bytes_of_token(p) : 0);
    kept[1] = pieces.take<char>(odd ? part.count * bytes_of_token(p) : 0);
    boundary = pieces.take<char>(static_cast<int64_t>(most));
    bytes = pieces.used();
  }
};

template <class X>
MHC_KERNEL(kThreads) copy_kernel(const int64_t tokens, const int streams, const int64_t width, const bool aligned,
                                 const Array<const X> from, const Array<X> to) {
  const int64_t pieces = (width + kPiece - 1) / kPiece;
  for_each_of(tokens * streams * pieces, [&](int64_t index) {
    const int64_t c = index % pieces * kPiece, stream = index / pieces % streams, token = index / pieces / streams, left = width - c;
    store_piece(to.at(token, stream, c), load_piece(from.at(token, stream, c), left, aligned, Use::Again), left, aligned);
  });
}

void copy(const Sizes& sizes, const View& from, const View& to, Job& job) {
  with_row_type(from.type, [&](auto type) {
    using X = decltype(type);
    job.launch(share(sizes.tokens * sizes.streams * pieces_of(sizes.width), job.device), copy_kernel<X>, sizes.tokens, sizes.streams,
               sizes.width, rows_aligned(from) && rows_aligned(to), Array<const X>(from), Array<X>(to));
  });
}

}  // namespace

size_t recompute_space(const RecomputeProblem& p, const DeviceProperties& device) {
  return layers_pass_fits(p, device) ? layers_pass_space(p, device) : Space(p, device, nullptr).bytes;
}

void recompute(const RecomputeProblem& p, Job& job) {
  if (layers_pass_fits(p, job.device)) return run_layers_pass(p, job);
  const Space space(p, job.device, job.workspace);
  const Walk walk{p, {space.kept[0], space.kept[1]}};
  const View first_x = p.at(0).x;
  const int32_t last = p.layers - 1;
  Job inner{job.stream, job.device, space.boundary, job.counters, job.error};
  for (Part part{0, tokens_at_once(p)}; part.first < p.sizes.tokens; part.first += part.count) {
    if (p.sizes.tokens - part.first < part.count) part.count = p.sizes.tokens - part.first;
    const Sizes sizes = walk.sizes_of(part);
    if (first_x) copy(sizes, part.of(p.x), part.of(first_x), inner);
    for (int32_t l = 0; l < p.layers; ++l) boundary(walk.boundary_of(l, part), inner);
    if (!p.x_next) continue;
    const RecomputeLayerViews layer = p.at(last);
    post({sizes, p.config.orientation, walk.entering(last, part), part.of(layer.f), part.of(layer.f_scale),
          part.of(layer.out.post_mix), part.of(layer.out.res_mix), part.of(p.x_next)},
         inner);
  }
  job.error = inner.error;
}

}  // namespace mhc::cuda
