// SPDX-License-Identifier: Apache-2.0
// mhc_head_backward against the oracle.
#include <algorithm>
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

Named oracle_of(const Call& c, int32_t kind, const Form& form) {
  const auto d = oracle::head_backward(c.config, kind, oracle_parameters(c, ""), c.values("x"), c.values("d_y"), form.shape());
  return {{"d_x", d.d_x}, {"d_projection", d.d_parameters.projection}, {"d_scale", d.d_parameters.scale},
          {"d_bias", d.d_parameters.bias}};
}

TEST(HeadBackward, agrees_with_the_oracle) {
  Random random;
  mhc_config outside = preset(MHC_PRESET_MEGATRON, 4);
  outside.rms_eps = 0.1f;  // so large that it matters where it is
  for (const auto& [kind, config] : std::vector<std::pair<int32_t, mhc_config>>{{MHC_HEAD_WEIGHTED, preset(MHC_PRESET_DEEPSEEK_V4, 4)},
                                                                                {MHC_HEAD_WEIGHTED, outside},
                                                                                {MHC_HEAD_MEAN, outside},
                                                                                {MHC_HEAD_SUM, outside}}) {
    Form start;
    start.kind = kind;
    start.config = config;
    for_each_form(start, [&, kind = kind](const Form& form, const Context& context) {
      auto call = make_head_backward(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      const Known bounds = known([&] { return oracle_of(*call, kind, form); }, random);
      for (const auto& [name, exact] : bounds.exact) {
        if (!call->has(name)) continue;
        EXPECT_TRUE(rounds_to((*call)[name], exact, bounds.slack.at(name))) << name;
      }
    });
  }
}

// A token of nothing but zeros, whose root has no slope: eps beside the root leaves d_x finite there.
TEST(HeadBackward, takes_a_token_of_zeros) {
  Random random;
  for (int32_t tier : tiers())
    for (int32_t p : {MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON}) {
      Context context(tier);
      Form form;
      form.config = preset(p, 4);
      auto call = make_head_backward(form, random);
      Array x = call->values("x"), inv_rms = call->values("inv_rms"), mix = call->values("mix");
      std::fill_n(x.begin(), form.shape().row(), 0.0);
      std::fill_n(mix.begin(), form.streams, 0.0);
      inv_rms[0] = p == MHC_PRESET_MEGATRON ? 1 / (double)form.config.rms_eps : 1 / std::sqrt((double)form.config.rms_eps);
      (*call)["x"].set(x);
      (*call)["mix"].set(mix);
      (*call)["inv_rms"].set(inv_rms);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      for (const char* name : {"d_x", "d_projection", "d_scale", "d_bias"})
        for (double v : call->values(name)) ASSERT_TRUE(std::isfinite(v)) << name << " " << tier_name(tier);
    }
}

// Without weights x is not looked at, but may be given.
TEST(HeadBackward, does_not_need_x_for_a_mean) {
  Random random;
  Context context;
  Form form;
  form.kind = MHC_HEAD_MEAN;
  auto call = make_head_backward(form, random);
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  const Array expected = call->values("d_x");
  call->input("x", kFp32, {form.tokens, form.streams, form.width}, random.normals(form.tokens * form.shape().row()));
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  EXPECT_EQ(expected, call->values("d_x"));
}

}  // namespace
