// SPDX-License-Identifier: Apache-2.0
#include "cuda/coefficients.h"

#include "cuda/pass.h"
#include "cuda/projection.h"
#include "lanes/activate.h"

namespace mhc::cuda {
namespace {

struct Arguments {
  int64_t tokens;
  mhc_config config;
  Array<const float> scale, bias, mix;
  Array<float> pre_mix, post_mix, res_mix;
};

constexpr int kMostOutputs = kMaxStreams * kMaxStreams + 2 * kMaxStreams;

MHC_KERNEL(kThreads) activate_kernel(const Arguments a) {
  for_each_of(a.tokens, [&](int64_t token) {
    const int n = a.config.streams, m = a.config.mode == MHC_MODE_MHC_LITE ? activation::factorial(n) + 2 * n : n * n + 2 * n;
    F mix[kMostOutputs], pre[kMaxStreams], post[kMaxStreams], res[kMaxStreams * kMaxStreams], scratch[kMaxStreams * kMaxStreams];
    for (int o = 0; a.mix && o < m; ++o) mix[o] = set(load1(a.mix.at(token, o)));
    activate_of<kAnyStreams>(a.config, a.scale.at(), a.bias.at(), mix, pre, post, res, scratch);
    for (int i = 0; i < n; ++i) {
      store1(a.pre_mix.at(token, i), pre[i].v);
      store1(a.post_mix.at(token, i), post[i].v);
      for (int j = 0; j < n; ++j) store1(a.res_mix.at(token, i, j), res[i * n + j].v);
    }
  });
}

bool has_product(const mhc_config& config) { return config.mode != MHC_MODE_RESIDUAL && !config.is_static; }

}  // namespace

size_t coefficients_in_steps_space(const Sizes& sizes, const mhc_config& config) {
  return has_product(config) ? static_cast<size_t>(sizes.tokens * sizes.mix_count) * sizeof(float) : 0;
}

void coefficients_in_steps(const Sizes& sizes, const mhc_config& config, const ParameterViews& parameters, const View& x,
                           const CoefficientViews& out, char* workspace, Job& job) {
  Arguments a{sizes.tokens, config, Array<const float>(parameters.scale), Array<const float>(parameters.bias), {},
              Array<float>(out.pre_mix), Array<float>(out.post_mix), Array<float>(out.res_mix)};
  if (has_product(config)) {
    Array<float> mix(out.mix);
    if (!mix) {
      mix.data = reinterpret_cast<float*>(workspace);
      mix.stride[0] = sizes.mix_count;
      mix.stride[1] = 1;
    }
    project(sizes, config, sizes.mix_count, parameters.projection, parameters.norm_weight, x, mix, out.inv_rms, job);
    a.mix.data = mix.data;
    for (int d = 0; d < 3; ++d) a.mix.stride[d] = mix.stride[d];
  }
  job.launch(share(sizes.tokens, job.device), activate_kernel, a);
}

size_t coefficients_space(const CoefficientsProblem& p, const DeviceProperties& device) {
  return pass_fits(p.sizes, p.config, device) ? pass_space(p.sizes, device) : coefficients_in_steps_space(p.sizes, p.config);
}

void coefficients(const CoefficientsProblem& p, Job& job) {
  if (!pass_fits(p.sizes, p.config, job.device)) {
    return coefficients_in_steps(p.sizes, p.config, p.parameters, p.x, p.out, job.workspace, job);
  }
  run_pass({p.sizes, p.config, p.parameters, p.x, {}, {}, {}, {}, {}, {}, p.out, {}, {}, {}, {}, {}, 0.0f, 0, p.x.type}, job);
}

}  // namespace mhc::cuda
