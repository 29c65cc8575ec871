// SPDX-License-Identifier: Apache-2.0
// mhc_pre_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

TEST(PreBackward, agrees_with_the_oracle) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_pre_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array x = call->values("x"), mix = call->values("pre_mix"), d_h = call->values("d_h");
    const auto exact = oracle::pre_backward(x, mix, d_h, form.shape());
    const auto size = oracle::pre_backward(absolute(x), absolute(mix), absolute(d_h), form.shape());
    EXPECT_TRUE(rounds_to((*call)["d_x"], exact.d_x, size.d_x, 1));
    EXPECT_TRUE(rounds_to((*call)["d_pre_mix"], exact.d_pre_mix, size.d_pre_mix, kDotFactor));
  });
}

}  // namespace
