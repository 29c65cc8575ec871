// SPDX-License-Identifier: Apache-2.0
// mhc_post against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

void check_forward(Call& c, oracle::Shape s) {
  const Array x = c.values("x"), f = layer_output(c), post = c.values("post_mix"), res = c.values("res_mix");
  const Array exact = oracle::post(*c.orientation, x, f, post, res, s);
  const Array size = oracle::post(*c.orientation, absolute(x), absolute(f), absolute(post), absolute(res), s);
  EXPECT_TRUE(rounds_to(c["x_next"], exact, size, (double)s.streams + 1));
}

TEST(Post, agrees_with_the_oracle) {
  Random random;
  for (int32_t orientation : {MHC_OUT_IN, MHC_IN_OUT}) {
    Form start;
    start.orientation = orientation;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_post(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check_forward(*call, form.shape());
    });
  }
}

TEST(Post, agrees_with_the_oracle_with_f_in_fp8) {
  Random random;
  Form start;
  start.fp8_f = true;
  for (int32_t rounding : {MHC_FP8_SCALE_EXACT, MHC_FP8_SCALE_POWER_OF_TWO}) {
    start.rounding = rounding;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_post(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check_forward(*call, form.shape());
    });
  }
}

TEST(Post, in_place_gives_the_same_bits) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_post(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const auto expected = call->values("x_next");
    Tensor& x = (*call)["x"];
    call->replace("x_next", std::make_unique<Tensor>(x, 0, x.shape(), x.strides()));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(expected, call->values("x_next"));
  });
}

// The coefficients as three slices of one [T, m] buffer, as a projection leaves them.
TEST(Post, takes_mixes_sliced_out_of_one_buffer) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    const int64_t t = form.tokens, n = form.streams, m = n * n + 2 * n;
    auto call = make_post(form, random);
    Tensor whole(kFp32, {t, m});
    whole.set(random.normals(t * m));
    call->replace("post_mix", std::make_unique<Tensor>(whole, n, std::vector{t, n}, std::vector{m, int64_t{1}}));
    call->replace("res_mix", std::make_unique<Tensor>(whole, 2 * n, std::vector{t, n, n}, std::vector{m, n, int64_t{1}}));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check_forward(*call, form.shape());
  });
}

}  // namespace
