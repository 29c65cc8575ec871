// SPDX-License-Identifier: Apache-2.0
// mhc_coefficients_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

// Gradients are sums of terms of either sign; what float32 can hold of them is relative to the largest.
void expect_gradient(Call& c, const std::string& name, const Array& exact, double relative = 2e-5) {
  if (!c.has(name)) return;
  EXPECT_TRUE(rounds_to(c[name], exact, Array(exact.size(), relative * (largest(exact) + cancelled(c, name))))) << name;
}

void check(Call& c, const Form& form) {
  const auto exact =
      oracle::coefficients_backward(c.config, oracle_parameters(c, "parameters."), c.values("x"), form.shape(),
                                    c.values("d_pre_mix"), c.values("d_post_mix"), c.values("d_res_mix"));
  expect_gradient(c, "d_x", exact.d_x);
  expect_gradient(c, "d_parameters.projection", exact.d_parameters.projection);
  expect_gradient(c, "d_parameters.scale", exact.d_parameters.scale);
  expect_gradient(c, "d_parameters.bias", exact.d_parameters.bias);
  expect_gradient(c, "d_parameters.norm_weight", exact.d_parameters.norm_weight);
}

TEST(CoefficientsBackward, agrees_with_the_oracle) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_coefficients_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check(*call, form);
  });
}

TEST(CoefficientsBackward, agrees_with_the_oracle_in_every_mode_and_preset) {
  Random random;
  for (const Variant& variant : variants()) {
    if (variant.name.rfind("coefficients_backward", 0) != 0) continue;
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (const Types& types : kTypes) {
        Form form = variant.form;
        form.tokens = 37;
        form.types = types;
        SCOPED_TRACE(tier_name(tier) + ", " + variant.name + " " + form.describe());
        auto call = variant.make(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        check(*call, form);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

}  // namespace
