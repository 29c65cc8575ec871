// SPDX-License-Identifier: Apache-2.0
// mhc_head_backward against the oracle.
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
  for (int32_t kind : {MHC_HEAD_WEIGHTED, MHC_HEAD_MEAN, MHC_HEAD_SUM}) {
    Form start;
    start.kind = kind;
    start.config = preset(MHC_PRESET_DEEPSEEK_V4, 4);
    for_each_form(start, [&](const Form& form, const Context& context) {
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
