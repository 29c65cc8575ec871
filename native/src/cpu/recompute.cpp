// SPDX-License-Identifier: Apache-2.0
// Many boundaries over one block of tokens, whose rows stay in scratch from the first layer to the last.
#include <new>

#include "cpu/kernels.h"
#include "cpu/pass.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// A layer as the blocks use it; all of them stand at the front of the shared workspace.
struct Layer {
  RecomputeLayerViews views;
  Projection projection;
};

size_t layers_space(const RecomputeProblem& p) { return static_cast<size_t>(p.layers) * sizeof(Layer); }

const Layer* prepare_layers(const RecomputeProblem& p, const Job& job) {
  Layer* layers = reinterpret_cast<Layer*>(job.shared);
  char* folded = job.shared + (layers_space(p) + 63) / 64 * 64;
  for (int32_t l = 0; l < p.layers; ++l) {
    RecomputeLayerViews views = p.at(l);
    Job part{job.pool, folded, job.threads, job.per_thread};
    new (&layers[l]) Layer{views, prepare_projection(views.parameters, p.sizes, part)};
    folded += projection_space(views.parameters, p.sizes);
  }
  return layers;
}

template <class X>
View view_of(const Rows<X>& rows) {
  View view;
  view.data = reinterpret_cast<char*>(rows.data);
  view.stride[0] = rows.streams * rows.pitch;
  view.stride[1] = rows.pitch;
  view.stride[2] = 1;
  view.rank = 3;
  view.type = dtype_of<X>::value;
  view.given = true;
  return view;
}

template <class X, class H, int N>
void run_block(const RecomputeProblem& p, const Layer* layers, PassScratch<X>& s, int64_t first, int64_t last) {
  int64_t tokens = last - first;
  int n = p.sizes.streams;
  View residual = view_of(s.rows);
  auto enter_all = [&](const Entry& entry, bool from_scratch) {
    for (int64_t t = 0; t < tokens; ++t) {
      float squares = enter<X, H, N>(entry, from_scratch ? t : first + t, first + t, s, t);
      s.inv_rms[t] = inv_rms_of(squares, n * p.sizes.width, p.config.rms_eps_mode, p.config.rms_eps);
    }
  };
  auto enter_after = [&](const RecomputeLayerViews& before, const View& x_next) {
    enter_all({residual, before.f, before.f_scale, before.out.post_mix, before.out.res_mix, p.config.orientation, x_next,
               larger_than_caches(x_next)},
              true);
  };
  const View* pre_mix = p.shifted_pre_mix ? &p.shifted_pre_mix : nullptr;  // what h of this layer uses when shifted
  for (int32_t l = 0; l < p.layers; ++l) {
    const RecomputeLayerViews& layer = layers[l].views;
    if (l == 0) {
      enter_all({p.x, {}, {}, {}, {}, p.config.orientation, layer.x, false}, false);
    } else {
      enter_after(layers[l - 1].views, layer.x);
    }
    if (has_product(p.config)) make_mix(s, tokens, layers[l].projection, p.sizes.mix_count);
    Affine affine;
    affine.load(layer.parameters, p.sizes.mix_count);
    settle(s, p.config, p.sizes, affine, layer.out, first, tokens);
    if (layer.h) {
      Exit exit{layer.h, {}, {}, {}, {}, 0.0f, 0};
      for (int64_t t = 0; t < tokens; ++t) {
        if (pre_mix) load_mix_row(*pre_mix, first + t, n, s.pre + t * n);
        leave<X, H, N>(exit, s, t, first + t);
      }
    }
    if (pre_mix) pre_mix = &layer.out.pre_mix;
  }
  if (!p.x_next) return;
  enter_after(layers[p.layers - 1].views, p.x_next);
}

}  // namespace

Space recompute_space(const RecomputeProblem& p, int threads) {
  ParameterViews none;
  Space space = pass_space(p.sizes, p.config, none, p.x.type, threads);
  space.shared = (layers_space(p) + 63) / 64 * 64;
  for (int32_t l = 0; l < p.layers; ++l) {
    space.shared += projection_space(p.at(l).parameters, p.sizes);
  }
  return space;
}

void recompute(const RecomputeProblem& p, const Job& job) {
  const Layer* layers = prepare_layers(p, job);
  with_row_types(p.x.type, p.layer_type, [&](auto x_tag, auto h_tag) {
    using X = typename decltype(x_tag)::type;
    using H = typename decltype(h_tag)::type;
    with_streams(p.sizes.streams, [&](auto streams) {
      int64_t block = block_of(p.sizes, sizeof(X), job.pool.threads());
      for_blocks(job.pool, p.sizes.tokens, block, [&](int worker, int64_t first, int64_t last) {
        PassScratch<X> scratch;
        scratch.lay_out(job.scratch(worker), p.sizes, p.config, block);
        run_block<X, H, streams>(p, layers, scratch, first, last);
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
