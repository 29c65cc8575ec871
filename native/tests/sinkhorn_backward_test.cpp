// SPDX-License-Identifier: Apache-2.0
// mhc_sinkhorn_backward against the oracle, which walks every half-step back.
#include "sinkhorn_forms.h"

using namespace mhc_test;

namespace {

Known bounds_of(const Call& c, int64_t k, Random& random) {
  constexpr double kMargin = 64;  // the errors of forty half-steps, each of which the next one carries on
  return known([&] {
    return Named{{"d_logits", oracle::sinkhorn_backward(c.config, c.values("logits"), c.values("d_out"), k)}};
  }, random, kMargin);
}

void check(Call& c, int64_t k, Random& random) {
  const Known bounds = bounds_of(c, k, random);
  EXPECT_TRUE(rounds_to(c["d_logits"], bounds.exact.at("d_logits"), bounds.slack.at("d_logits")));
}

// One call in every tier, against what is worked out once.
void check_in_every_tier(Call& c, int64_t k, Random& random) {
  const Known bounds = bounds_of(c, k, random);
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(tier_name(tier) + " k=" + std::to_string(k) + " iterations " + std::to_string(c.config.iterations) + " start " +
                 std::to_string(c.config.sinkhorn_start) + " order " + std::to_string(c.config.sinkhorn_order));
    Context context(tier, 2);
    c.poison_outputs();
    ASSERT_EQ(c.run(context), MHC_OK) << mhc_last_error();
    EXPECT_TRUE(rounds_to(c["d_logits"], bounds.exact.at("d_logits"), bounds.slack.at("d_logits")));
  }
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

TEST(SinkhornBackward, agrees_with_the_oracle_after_any_number_of_iterations) {
  Random random;
  for_each_number_of_iterations([&](const Form& form) {
    auto call = make_sinkhorn_backward(form, random);
    check_in_every_tier(*call, form.streams, random);
  });
}

// As large as a matrix gets: more rows than one block of them, more columns than one tile.
TEST(SinkhornBackward, agrees_with_the_oracle_on_the_largest_matrices) {
  Random random;
  for (const auto& [k, iterations] : std::vector<std::pair<int32_t, int32_t>>{{600, 2}, {2050, 1}}) {
    if (k > 1000 && on_executor()) continue;  // minutes on the executor
    Form form;
    form.config.iterations = iterations;
    form.streams = k;
    form.tokens = 1;
    auto call = make_sinkhorn_backward(form, random);
    const Array exact = oracle::sinkhorn_backward(call->config, call->values("logits"), call->values("d_out"), k);
    for (int32_t tier : tiers()) {
      SCOPED_TRACE(tier_name(tier) + " k=" + std::to_string(k));
      Context context(tier, 2);
      call->poison_outputs();
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      EXPECT_TRUE(is_near((*call)["d_logits"], exact, 1e-5, 1e-6 * largest(exact)));
    }
  }
}

// A column whose exp() is out of float's range: rows first, it is found in no sum, and the first sum of columns finds it.
TEST(SinkhornBackward, takes_a_column_that_underflows) {
  Random random;
  for (int32_t k : {20, 140, 257}) {
    if (k > 200 && on_executor()) continue;  // the same kernel as 140, and four times as long on the executor
    Form form;
    form.config.sinkhorn_order = MHC_SINKHORN_ROWS_FIRST;
    form.streams = k;
    form.tokens = 1;
    auto call = make_sinkhorn_backward(form, random);
    Array logits = call->values("logits");
    for (int i = 0; i < k; ++i) logits[(size_t)(i * k + 1)] -= 300;
    (*call)["logits"].set(logits);
    check_in_every_tier(*call, k, random);
  }
}

}  // namespace
