// SPDX-License-Identifier: Apache-2.0
// mhc_expand_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

TEST(ExpandBackward, sums_the_streams) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_expand_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array d_x = call->values("d_x");
    EXPECT_TRUE(rounds_to((*call)["d_embedding"], oracle::expand_backward(d_x, form.shape()),
                          oracle::expand_backward(absolute(d_x), form.shape()), form.streams));
  });
}

}  // namespace
