// SPDX-License-Identifier: Apache-2.0
// mhc_pre against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

TEST(Pre, agrees_with_the_oracle) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_pre(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array x = call->values("x"), mix = call->values("pre_mix");
    EXPECT_TRUE(rounds_to((*call)["h"], oracle::pre(x, mix, form.shape()),
                          oracle::pre(absolute(x), absolute(mix), form.shape()), form.streams));
  });
}

}  // namespace
