// SPDX-License-Identifier: Apache-2.0
// MHC_HEAD_WEIGHTED is a pass whose only coefficients are the weights.
#include "cpu/head.h"

#include "cpu/kernels.h"
#include "cpu/pass.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// Of a pass that activates nothing itself.
mhc_config no_activation(const HeadProblem& p) {
  mhc_config config = p.config;
  config.mode = MHC_MODE_RESIDUAL;
  config.streams = p.sizes.streams;
  return config;
}

template <class X, class H, int N>
void weighted_block(const HeadProblem& p, const HeadAffine& affine, PassScratch<X>& s, int64_t first, int64_t last) {
  const int64_t tokens = last - first;
  const int n = p.sizes.streams;
  const Entry entry{p.x, {}, {}, {}, {}, MHC_OUT_IN, {}, false};
  for (int64_t t = 0; t < tokens; ++t) {
    float squares = enter_as_it_is(entry, first + t, first + t, s.rows, t);
    s.inv_rms[t] = inv_rms_of(squares, n * p.sizes.width, p.config.rms_eps_mode, p.config.rms_eps);
  }
  make_mix(s, tokens, {p.projection.at<float>(), p.projection.stride[0], false}, n);
  Exit exit{};
  exit.h = p.y;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* mix = s.mix + t * n;
    for (int i = 0; i < n; i += W) {
      store_upto(s.pre + t * n + i, sigmoid(affine.logit(mix, i, n)) + set(p.config.pre_eps), n - i);
    }
    leave<X, H, N>(exit, s, t, first + t);
    if (p.inv_rms) store1(p.inv_rms.at<float>(first + t), s.inv_rms[t]);
    if (p.mix) {
      for (int i = 0; i < n; ++i) store1(p.mix.at<float>(first + t, i), mix[i]);
    }
  }
}

template <class X, class H, int N>
void weighted(const HeadProblem& p, const Job& job) {
  const mhc_config config = no_activation(p);
  const HeadAffine affine(p.scale, p.bias, p.sizes.streams);
  const int64_t block = block_of(p.sizes, sizeof(X), job.pool.threads());
  for_blocks(job.pool, p.sizes.tokens, block, [&](int worker, int64_t first, int64_t last) {
    PassScratch<X> scratch;
    scratch.lay_out(job.scratch(worker), p.sizes, config, block);
    weighted_block<X, H, N>(p, affine, scratch, first, last);
  });
}

template <class X, class H, int N>
void constant(const HeadProblem& p, const Job& job) {
  float weight[kMaxStreams];
  std::fill(weight, weight + kMaxStreams, constant_head_weight(p.kind, p.sizes.streams));
  for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) pre_row<X, H, N>(p.x, t, weight, p.y.at<H>(t));
  });
}

}  // namespace

Space head_space(const HeadProblem& p, int threads) {
  if (p.kind != MHC_HEAD_WEIGHTED) return {};
  return pass_space(p.sizes, no_activation(p), {}, p.x.type, threads);
}

void head(const HeadProblem& p, const Job& job) {
  with_row_types(p.x.type, p.y.type, [&](auto x, auto y) {
    with_streams(p.sizes.streams, [&](auto streams) {
      using X = typename decltype(x)::type;
      using H = typename decltype(y)::type;
      p.kind == MHC_HEAD_WEIGHTED ? weighted<X, H, streams>(p, job) : constant<X, H, streams>(p, job);
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
