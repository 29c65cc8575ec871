// SPDX-License-Identifier: Apache-2.0
// mhc_sinkhorn_backward against the oracle, which walks every half-step back.
#include "call.h"

using namespace mhc_test;

namespace {

void check(Call& c, int64_t k, Random& random) {
  constexpr double kMargin = 64;  // the errors of forty half-steps, each of which the next one carries on
  const Known bounds = known([&] {
    return Named{{"d_logits", oracle::sinkhorn_backward(c.config, c.values("logits"), c.values("d_out"), k)}};
  }, random, kMargin);
  EXPECT_TRUE(rounds_to(c["d_logits"], bounds.exact.at("d_logits"), bounds.slack.at("d_logits")));
}

TEST(SinkhornBackward, agrees_with_the_oracle) {
  Random random;
  for (int32_t start = 0; start < 3; ++start)
    for (int32_t order = 0; order < 2; ++order)
      for (int32_t eps_mode = 0; eps_mode < 3; ++eps_mode)
        for (float eps : {1e-6f, 0.2f})
          for (int32_t tier : tiers()) {
            Context context(tier, 2);
            for (int32_t k : {1, 2, 3, 4, 5, 8, 13, 16, 17, 30}) {
              Form form;
              form.streams = k;
              form.tokens = k > 8 ? 2 : 19;
              form.config.sinkhorn_start = start;
              form.config.sinkhorn_order = order;
              form.config.sinkhorn_eps_mode = eps_mode;
              form.config.sinkhorn_eps = eps;
              form.config.iterations = eps > 0.1f ? 3 : 20;
              SCOPED_TRACE(tier_name(tier) + " k=" + std::to_string(k) + " start " + std::to_string(start) +
                           " order " + std::to_string(order) + " eps mode " + std::to_string(eps_mode));
              auto call = make_sinkhorn_backward(form, random);
              ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
              check(*call, k, random);
              if (testing::Test::HasFailure()) return;
            }
          }
}

// Hard logits amplify: a step's rounding is carried through up to 40 divisions by sums that are far from 1.
TEST(SinkhornBackward, takes_hard_logits) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE})
    for (int32_t tier : tiers())
      for (int32_t k : {4, 20}) {
        Context context(tier);
        Form form;
        form.config = preset(p, 4);
        form.streams = k;
        form.tokens = k > 16 ? 8 : 40;
        form.logits = 10;
        SCOPED_TRACE(tier_name(tier) + " preset " + std::to_string(p) + " k=" + std::to_string(k));
        auto call = make_sinkhorn_backward(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        check(*call, k, random);
      }
}

TEST(SinkhornBackward, agrees_with_the_oracle_on_large_matrices) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE})
    for (int32_t tier : tiers())
      for (int32_t k : {100, full() ? 700 : 150}) {
        Context context(tier, 2);
        Form form;
        form.config = preset(p, 4);
        form.streams = k;
        form.tokens = 1;
        SCOPED_TRACE(tier_name(tier) + " preset " + std::to_string(p) + " k=" + std::to_string(k));
        auto call = make_sinkhorn_backward(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        check(*call, k, random);
      }
}

}  // namespace
