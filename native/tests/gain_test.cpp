// SPDX-License-Identifier: Apache-2.0
// mhc_gain against the oracle.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

void check(Call& c, const Form& f) {
  const auto exact = oracle::gain(*c.orientation, c.values("res_mix"), f.layers, f.tokens, f.streams);
  EXPECT_TRUE(is_near(c["forward"], exact.forward, 1e-6));
  EXPECT_TRUE(is_near(c["backward"], exact.backward, 1e-6));
  EXPECT_TRUE(is_near(c["contraction"], exact.contraction, 1e-5, 1e-6));
  EXPECT_TRUE(is_near(c["composite_forward"], exact.composite_forward, 1e-5, 1e-6 * largest(exact.composite_forward)));
  EXPECT_TRUE(is_near(c["composite_backward"], exact.composite_backward, 1e-5, 1e-6 * largest(exact.composite_backward)));
  EXPECT_TRUE(is_near(c["composite_contraction"], exact.composite_contraction, 1e-5, 1e-6 * largest(exact.composite_contraction)));
}

TEST(Gain, agrees_with_the_oracle) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (int32_t streams : {1, 2, 3, 4, 5, 8, 16})
      for (int32_t layers : {1, 2, 7})
        for (int32_t orientation : {MHC_OUT_IN, MHC_IN_OUT}) {
          Form form;
          form.streams = streams;
          form.layers = layers;
          form.orientation = orientation;
          auto call = make_gain(form, random);
          ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
          SCOPED_TRACE(tier_name(tier) + " n=" + std::to_string(streams) + " L=" + std::to_string(layers));
          check(*call, form);
        }
  }
}

TEST(Gain, of_doubly_stochastic_layers_stays_one) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    Form form;
    form.layers = 60;
    auto call = make_gain(form, random);
    const int64_t matrices = form.layers * form.tokens;
    (*call)["res_mix"].set(oracle::sinkhorn([] { auto c = preset(MHC_PRESET_PAPER, 4); c.iterations = 200; return c; }(),
                                            random.normals(matrices * 16), 4));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_TRUE(is_near((*call)["composite_forward"], Array(matrices, 1.0), 1e-5));
    EXPECT_TRUE(is_near((*call)["composite_backward"], Array(matrices, 1.0), 1e-5));
    for (double c : call->values("contraction")) EXPECT_LE(c, 1 + 1e-6);
  }
}

TEST(Gain, of_a_permutation_contracts_nothing) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier);
    Form form;
    form.layers = 1;
    form.tokens = 1;
    auto call = make_gain(form, random);
    (*call)["res_mix"].set({0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0});
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    for (const char* name : {"forward", "backward", "contraction", "composite_contraction"})
      EXPECT_TRUE(is_near((*call)[name], {1.0}, 1e-6)) << name;
  }
}

}  // namespace
