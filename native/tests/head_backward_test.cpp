// SPDX-License-Identifier: Apache-2.0
// mhc_head_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

void expect_gradient(Call& c, const std::string& name, const Array& exact) {
  if (!c.has(name)) return;
  EXPECT_TRUE(rounds_to(c[name], exact, Array(exact.size(), 5e-5 * (largest(exact) + cancelled(c, name))))) << name;
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
      const auto exact = oracle::head_backward(call->config, kind, oracle_parameters(*call, ""), call->values("x"),
                                               call->values("d_y"), form.shape());
      expect_gradient(*call, "d_x", exact.d_x);
      expect_gradient(*call, "d_projection", exact.d_parameters.projection);
      expect_gradient(*call, "d_scale", exact.d_parameters.scale);
      expect_gradient(*call, "d_bias", exact.d_parameters.bias);
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
