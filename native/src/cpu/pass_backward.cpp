// SPDX-License-Identifier: Apache-2.0
#include "cpu/pass_backward.h"

#include "cpu/pass_backward_block.h"

namespace mhc::cpu::MHC_TIER {
namespace backward {
namespace {

// Of a window's tokens, so that the slab's tiles, larger than a cache, come and go once for many tokens.
template <class X, class H>
void add_to_projection(const Sizes& sizes, const Plan& plan, const Scratch<X, H>& s, int64_t tokens, bool fresh, float* slab_tiles) {
  const Tiles tiles(sizes);
  for (int64_t v = 0; v < tiles.count; ++v) {
    back_to_projection(s.g, s.next + v * W, plan.pitch, tokens, tiles, fresh, tiles.at(slab_tiles, v));
  }
}

template <class X, class H, int N, bool Post, bool Layer>
void run_slab(const BoundaryBackwardProblem& p, const Plan& plan, const Affine& affine, const Shared& shared,
              char* scratch, int64_t slab) {
  Scratch<X, H> s;
  s.lay_out(scratch, p, plan);
  int64_t m = p.sizes.mix_count;
  for (int64_t k = 0; k < m + 3; ++k) s.sums[k] = zero();
  if (shared.sums) {
    for (int64_t k = 0; k < shared.sums_step; k += W) store(shared.d_bias(slab) + k, zero());
  }
  int64_t last = std::min(p.sizes.tokens, (slab + 1) * plan.slab);
  for (int64_t from = slab * plan.slab; from < last; from += plan.window) {
    const int64_t window = std::min(plan.window, last - from);
    for (int64_t t = 0; t < window; t += plan.block) {
      const Scratch<X, H> behind = s.behind(t, p.sizes, plan);
      Block<X, H, N, Post, Layer>(p, plan, affine, shared, behind, slab, from + t, std::min(plan.block, window - t)).run();
    }
    if (plan.d_projection) {
      add_to_projection(p.sizes, plan, s, window, from == slab * plan.slab, shared.tiles + slab * shared.tiles_step);
    }
  }
  if (shared.sums) {
    for (int64_t k = 0; k < m + 3; ++k) shared.d_bias(slab)[k] = sum(s.sums[k]);
  }
  stream_fence();
}

// The slabs' sums of the smaller gradients, to where they belong.
void write_sums(const BoundaryBackwardProblem& p, const Plan& plan, const Shared& shared) {
  auto write = [&](const View& to, int64_t from, int64_t count) {
    for (int64_t k = 0; to && k < count; ++k) {
      float total = 0.0f;
      for (int64_t s = 0; s < plan.slabs; ++s) total += shared.sums[s * shared.sums_step + from + k];
      if (p.accumulate_parameters) total += load1(to.at<float>(k));
      store1(to.at<float>(k), total);
    }
  };
  int64_t m = p.sizes.mix_count;
  write(p.d_parameters.bias, 0, m);
  write(p.d_parameters.scale, m, 3);
  write(p.d_norm_weight, m + 3, p.sizes.width);
}

// body(X, H, Post, Layer) of the problem.
template <class Body>
void with_kind(const BoundaryBackwardProblem& p, const Body& body) {
  if (!p.d_h) {
    with_row_type(p.x.type, [&](auto x) { body(x, x, std::false_type{}, std::false_type{}); });
  } else if (!p.f) {
    with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) { body(x, h, std::false_type{}, std::true_type{}); });
  } else {
    with_row_types(p.x.type, p.d_h.type, [&](auto x, auto h) { body(x, h, std::true_type{}, std::true_type{}); });
  }
}

}  // namespace
}  // namespace backward

Space pass_backward_space(const BoundaryBackwardProblem& p, int threads) {
  using namespace backward;
  const Plan plan = plan_of(p, threads);
  Space space;
  space.shared = Shared(p, plan, nullptr).bytes;
  with_kind(p, [&](auto x, auto h, auto, auto) {
    space.per_thread = Scratch<typename decltype(x)::type, typename decltype(h)::type>{}.lay_out(nullptr, p, plan);
  });
  return space;
}

void run_pass_backward(const BoundaryBackwardProblem& p, const Job& job) {
  using namespace backward;
  const Plan plan = plan_of(p, job.pool.threads());
  const Shared shared(p, plan, job.shared);
  const Affine affine(p.parameters, p.sizes.mix_count);
  if (p.sizes.tokens == 0 && p.accumulate_parameters) return;
  if (shared.projection && plan.slabs > 0) to_tiles(p.parameters, p.sizes, job.pool, shared.projection);
  with_kind(p, [&](auto x, auto h, auto post, auto layer) {
    with_streams(p.sizes.streams, [&](auto streams) {
      job.pool.parallel(plan.slabs, [&](int worker, int64_t slab) {
        run_slab<typename decltype(x)::type, typename decltype(h)::type, streams, post, layer>(
            p, plan, affine, shared, job.scratch(worker), slab);
      });
    });
  });
  if (plan.d_parameters) write_sums(p, plan, shared);
  if (plan.d_projection) {
    from_tiles(p.parameters, p.d_parameters, p.sizes, p.accumulate_parameters, shared.tiles, shared.tiles_step,
               plan.slabs, job.pool);
  }
}

}  // namespace mhc::cpu::MHC_TIER
