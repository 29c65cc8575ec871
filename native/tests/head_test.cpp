// SPDX-License-Identifier: Apache-2.0
// mhc_head against the oracle.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

// y from the mixes that the library stored, so that the projection's error is counted once.
void check_weighted(Call& c, const Form& f) {
  const oracle::Parameters p = oracle_parameters(c, "");
  const auto exact = oracle::head(c.config, MHC_HEAD_WEIGHTED, p, c.values("x"), f.shape());
  const auto size = oracle::head(c.config, MHC_HEAD_WEIGHTED, {absolute(p.projection), p.scale, p.bias, {}},
                                 absolute(c.values("x")), f.shape());
  EXPECT_TRUE(rounds_to(c["mix"], exact.mix, size.mix, kDotFactor));
  EXPECT_TRUE(rounds_to(c["inv_rms"], exact.inv_rms, exact.inv_rms, kDotFactor));
  Array weight = c.values("mix");
  for (size_t i = 0; i < weight.size(); ++i)
    weight[i] = 1 / (1 + std::exp(-(p.scale[0] * weight[i] + p.bias[i % f.streams]))) + c.config.pre_eps;
  EXPECT_TRUE(rounds_to(c["y"], oracle::pre(c.values("x"), weight, f.shape()),
                        oracle::pre(absolute(c.values("x")), weight, f.shape()), f.streams + 16.0));
}

// eps beside the root instead of under it, and large enough that it matters.
mhc_config outside() {
  mhc_config config = preset(MHC_PRESET_MEGATRON, 4);
  config.rms_eps = 0.1f;
  return config;
}

TEST(Head, agrees_with_the_oracle) {
  Random random;
  for (const auto& [kind, config] : std::vector<std::pair<int32_t, mhc_config>>{{MHC_HEAD_WEIGHTED, preset(MHC_PRESET_DEEPSEEK_V4, 4)},
                                                                                {MHC_HEAD_WEIGHTED, outside()},
                                                                                {MHC_HEAD_MEAN, outside()},
                                                                                {MHC_HEAD_SUM, outside()}}) {
    Form start;
    start.kind = kind;
    start.config = config;
    start.config.pre_eps = 1e-2f;
    for_each_form(start, [&, kind = kind](const Form& form, const Context& context) {
      auto call = make_head(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      if (kind == MHC_HEAD_WEIGHTED) return check_weighted(*call, form);
      const auto exact = oracle::head(call->config, kind, {}, call->values("x"), form.shape());
      const auto size = oracle::head(call->config, kind, {}, absolute(call->values("x")), form.shape());
      EXPECT_TRUE(rounds_to((*call)["y"], exact.y, size.y, form.streams + 1));
    });
  }
}

}  // namespace
