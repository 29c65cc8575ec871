// SPDX-License-Identifier: Apache-2.0
// mhc_post_backward against the oracle.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

void check_backward(Call& c, oracle::Shape s) {
  auto gradients = [&](auto&& of) {
    return oracle::post_backward(*c.orientation, of(c.values("x")), of(layer_output(c)), of(c.values("post_mix")),
                                 of(c.values("res_mix")), of(c.values("d_x_next")), s);
  };
  const auto exact = gradients([](const Array& a) { return a; }), size = gradients(absolute);
  EXPECT_TRUE(rounds_to(c["d_x"], exact.d_x, size.d_x, (double)s.streams));
  EXPECT_TRUE(rounds_to(c["d_f"], exact.d_f, size.d_f, (double)s.streams));
  EXPECT_TRUE(rounds_to(c["d_post_mix"], exact.d_post_mix, size.d_post_mix, kDotFactor));
  EXPECT_TRUE(rounds_to(c["d_res_mix"], exact.d_res_mix, size.d_res_mix, kDotFactor));
}

TEST(PostBackward, agrees_with_the_oracle) {
  Random random;
  for (int32_t orientation : {MHC_OUT_IN, MHC_IN_OUT}) {
    Form start;
    start.orientation = orientation;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_post_backward(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check_backward(*call, form.shape());
    });
  }
}

TEST(PostBackward, agrees_with_the_oracle_with_f_in_fp8) {
  Random random;
  Form start;
  start.fp8_f = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_post_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check_backward(*call, form.shape());
  });
}

TEST(PostBackward, in_place_gives_the_same_bits) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_post_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const auto expected = call->values("d_x");
    Tensor& d_x_next = (*call)["d_x_next"];
    call->replace("d_x", std::make_unique<Tensor>(d_x_next, 0, d_x_next.shape(), d_x_next.strides()));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(expected, call->values("d_x"));
  });
}

}  // namespace
