// SPDX-License-Identifier: Apache-2.0
// mhc_rmsnorm against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

Form weighted(bool weight) {
  Form form;
  form.norm_weight = weight;
  return form;
}

TEST(Rmsnorm, agrees_with_the_oracle) {
  Random random;
  for (bool weight : {false, true})
    for_each_form(weighted(weight), [&](const Form& form, const Context& context) {
      auto call = make_rmsnorm(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      const auto exact = oracle::rmsnorm(call->values("x"), call->values("weight"), *call->eps, form.width);
      EXPECT_TRUE(rounds_to((*call)["y"], exact.y, absolute(exact.y), kDotFactor));
      EXPECT_TRUE(rounds_to((*call)["inv_rms"], exact.inv_rms, exact.inv_rms, kDotFactor));
    });
}

TEST(Rmsnorm, in_place_gives_the_same_bits) {
  Random random;
  for_each_form(weighted(true), [&](const Form& form, const Context& context) {
    auto call = make_rmsnorm(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const auto expected = call->values("y");
    Tensor& x = (*call)["x"];
    call->replace("y", std::make_unique<Tensor>(x, 0, x.shape(), x.strides()));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(expected, call->values("y"));
  });
}

// A row of zeros has a norm of eps alone, and with eps = 0 the IEEE answer; nothing traps.
TEST(Rmsnorm, a_row_of_zeros_stays_zero) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier);
    auto call = make_rmsnorm({}, random);
    (*call)["x"].set(Array((*call)["x"].count()));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(call->values("y"), Array((*call)["y"].count()));
  }
}

}  // namespace
