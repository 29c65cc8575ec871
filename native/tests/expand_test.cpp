// SPDX-License-Identifier: Apache-2.0
// mhc_expand against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

TEST(Expand, copies_the_embedding_to_every_stream) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_expand(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(call->values("x"), oracle::expand(call->values("embedding"), form.shape()));
  });
}

}  // namespace
