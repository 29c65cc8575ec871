// SPDX-License-Identifier: Apache-2.0
#include "cpu/pass.h"

#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

template <class X>
size_t scratch_bytes(const Sizes& sizes, const mhc_config& config, int threads) {
  PassScratch<X> scratch;
  return scratch.lay_out(nullptr, sizes, config, block_of(sizes, sizeof(X), threads));
}

template <class X, class H, int N>
void run_block(const Pass& p, const Projection& projection, const Affine& affine, PassScratch<X>& s, int64_t first,
               int64_t last) {
  int64_t tokens = last - first;
  int n = p.sizes.streams;
  bool scanned = has_product(p.config) || p.exit;  // static coefficients alone do not look at x
  for (int64_t t = 0; scanned && t < tokens; ++t) {
    float squares = enter<X, H, N>(p.entry, first + t, first + t, s, t);
    s.inv_rms[t] = inv_rms_of(squares, n * p.sizes.width, p.config.rms_eps_mode, p.config.rms_eps);
  }
  if (has_product(p.config)) make_mix(s, tokens, projection, p.sizes.mix_count);
  settle(s, p.config, p.sizes, affine, p.out, first, tokens);
  if (!p.exit) return;
  for (int64_t t = 0; t < tokens; ++t) {
    if (p.shifted_pre_mix) load_mix_row(p.shifted_pre_mix, first + t, n, s.pre + t * n);
    leave<X, H, N>(*p.exit, s, t, first + t);
  }
}

}  // namespace

Space pass_space(const Sizes& sizes, const mhc_config& config, const ParameterViews& parameters, DType type,
                 int threads) {
  Space space;
  with_row_type(type, [&](auto x) { space.per_thread = scratch_bytes<typename decltype(x)::type>(sizes, config, threads); });
  space.shared = projection_space(parameters, sizes);
  return space;
}

void run_pass(const Pass& p, DType layer_type, const Job& job) {
  Projection projection = prepare_projection(p.parameters, p.sizes, job);
  Affine affine;
  affine.load(p.parameters, p.sizes.mix_count);
  with_row_types(p.entry.x.type, layer_type, [&](auto x_tag, auto h_tag) {
    using X = typename decltype(x_tag)::type;
    using H = typename decltype(h_tag)::type;
    with_streams(p.sizes.streams, [&](auto streams) {
      int64_t block = block_of(p.sizes, sizeof(X), job.pool.threads());
      for_blocks(job.pool, p.sizes.tokens, block, [&](int worker, int64_t first, int64_t last) {
        PassScratch<X> scratch;
        scratch.lay_out(job.scratch(worker), p.sizes, p.config, block);
        run_block<X, H, streams>(p, projection, affine, scratch, first, last);
      });
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
