// SPDX-License-Identifier: Apache-2.0
// mhc_rmsnorm_backward against the oracle.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

TEST(RmsnormBackward, agrees_with_the_oracle) {
  Random random;
  Form start;
  for (bool weight : {false, true}) {
    start.norm_weight = weight;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_rmsnorm_backward(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      const Array x = call->values("x"), w = call->values("weight"), d_y = call->values("d_y");
      const auto exact = oracle::rmsnorm_backward(x, w, d_y, *call->eps, form.width);
      const auto size = oracle::rmsnorm_backward(absolute(x), absolute(w), absolute(d_y), *call->eps, form.width);
      Array d_x_size = size.d_x;  // |a - b| there, a + b wanted
      const auto inv = oracle::rmsnorm(x, w, *call->eps, form.width).inv_rms;
      for (size_t i = 0; i < d_x_size.size(); ++i)
        d_x_size[i] = 2 * std::abs(d_y[i]) * (w.empty() ? 1 : std::abs(w[i % form.width])) * inv[i / form.width] + std::abs(size.d_x[i]);
      EXPECT_TRUE(rounds_to((*call)["d_x"], exact.d_x, d_x_size, kDotFactor));
      if (!weight) return;
      EXPECT_TRUE(rounds_to((*call)["d_weight"], exact.d_weight, size.d_weight, kDotFactor));
    });
  }
}

}  // namespace
