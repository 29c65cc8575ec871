// SPDX-License-Identifier: Apache-2.0
// mhc_sinkhorn against the oracle, in every convention that a config can spell and at every size.
#include <cmath>

#include "sinkhorn_forms.h"

using namespace mhc_test;

namespace {

std::vector<mhc_config> conventions() {
  std::vector<mhc_config> all;
  for (int32_t start = 0; start < 3; ++start)
    for (int32_t order = 0; order < 2; ++order)
      for (int32_t eps_mode = 0; eps_mode < 3; ++eps_mode)
        for (float eps : {1e-6f, 0.2f}) {
          mhc_config c = preset(MHC_PRESET_PAPER, 4);
          c.sinkhorn_start = start;
          c.sinkhorn_order = order;
          c.sinkhorn_eps_mode = eps_mode;
          c.sinkhorn_eps = eps;
          c.iterations = eps > 0.1f ? 3 : 20;
          all.push_back(c);
        }
  return all;
}

std::string describe(const mhc_config& c, const Form& f, int32_t tier) {
  return tier_name(tier) + " k=" + std::to_string(f.streams) + " start " + std::to_string(c.sinkhorn_start) +
         " order " + std::to_string(c.sinkhorn_order) + " eps mode " + std::to_string(c.sinkhorn_eps_mode) + " eps " +
         std::to_string(c.sinkhorn_eps) + " deviation " + std::to_string(f.logits);
}

// Subtracting a maximum from a logit rounds by 2^-24 of the range of logits, and so does each potential of the log domain;
// an entry has one of each; each of an iteration's two divisions rounds by 2^-24, and where nothing moves any more they may all
// round the same way. Below 1e-30 an entry may be flushed to zero.
double relative_bound(const Array& logits, int32_t iterations = 20) {
  return 1e-5 + 4 * 0x1p-24 * 2 * largest(logits) + 2 * 0x1p-24 * iterations;
}

TEST(Sinkhorn, agrees_with_the_oracle) {
  Random random;
  for (const mhc_config& config : conventions())
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (int32_t k : {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 17, 33})
        for (double deviation : {1.0, 10.0}) {
          Form form;
          form.config = config;
          form.streams = k;
          form.tokens = k > 8 ? 3 : 19;
          form.logits = deviation;
          SCOPED_TRACE(describe(config, form, tier));
          auto call = make_sinkhorn(form, random);
          ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
          const Array logits = call->values("logits");
          EXPECT_TRUE(is_near((*call)["out"], oracle::sinkhorn(call->config, logits, k), relative_bound(logits), 1e-30));
          if (testing::Test::HasFailure()) return;
        }
    }
}

TEST(Sinkhorn, agrees_with_the_oracle_on_large_matrices) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE})
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (int32_t k : {64, 100, full() ? 1000 : 257}) {
        Form form;
        form.config = preset(p, 4);
        form.streams = k;
        form.tokens = 2;
        SCOPED_TRACE(describe(form.config, form, tier));
        auto call = make_sinkhorn(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        const Array logits = call->values("logits");
        EXPECT_TRUE(is_near((*call)["out"], oracle::sinkhorn(call->config, logits, k), relative_bound(logits), 1e-30));
        if (testing::Test::HasFailure()) return;
      }
    }
}

TEST(Sinkhorn, agrees_with_the_oracle_after_any_number_of_iterations) {
  Random random;
  for_each_number_of_iterations([&](Form form) {
    form.logits = 3;
    auto call = make_sinkhorn(form, random);
    const Array logits = call->values("logits"), exact = oracle::sinkhorn(call->config, logits, form.streams);
    for (int32_t tier : tiers()) {
      SCOPED_TRACE(describe(form.config, form, tier) + " iterations " + std::to_string(form.config.iterations));
      Context context(tier);
      call->poison_outputs();
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      EXPECT_TRUE(is_near((*call)["out"], exact, relative_bound(logits, form.config.iterations), 1e-30));
    }
  });
}

// As large as a matrix gets: more rows than one block of them, more columns than one tile.
TEST(Sinkhorn, agrees_with_the_oracle_on_the_largest_matrices) {
  Random random;
  for (const auto& [k, iterations] : std::vector<std::pair<int32_t, int32_t>>{{600, 2}, {2050, 1}})
    for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4}) {
      if (k > 1000 && (on_executor() || p != MHC_PRESET_PAPER)) continue;  // minutes on the executor
      Form form;
      form.config = preset(p, 4);
      form.config.iterations = iterations;
      form.streams = k;
      form.tokens = 1;
      auto call = make_sinkhorn(form, random);
      const Array logits = call->values("logits"), exact = oracle::sinkhorn(call->config, logits, k);
      for (int32_t tier : tiers()) {
        SCOPED_TRACE(describe(form.config, form, tier));
        Context context(tier, 2);
        call->poison_outputs();
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        EXPECT_TRUE(is_near((*call)["out"], exact, relative_bound(logits), 1e-30));
      }
    }
}

// Whole rows or columns far above and below the others: exp() of them is out of float's range, the result is not.
TEST(Sinkhorn, does_not_overflow) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE})
    for (int32_t tier : tiers())
      for (int32_t k : {4, 20, 140})
        for (double offset : {-300.0, -100.0, 100.0, 300.0})
          for (bool row : {true, false}) {
            if (k > 100 && offset > 0) continue;  // the oracle takes its time
            Context context(tier, 2);
            Form form;
            form.config = preset(p, 4);
            form.streams = k;
            form.tokens = k > 100 ? 1 : 5;
            auto call = make_sinkhorn(form, random);
            Array logits = call->values("logits");
            for (int64_t b = 0; b < form.tokens; ++b)
              for (int i = 0; i < k; ++i) logits[b * k * k + (row ? k + i : i * k + 1)] += offset;
            (*call)["logits"].set(logits);
            if (p == MHC_PRESET_MEGATRON && !row) continue;  // exp underflows before the first division, there as here
            ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
            const Array exact = oracle::sinkhorn(call->config, call->values("logits"), k);
            EXPECT_TRUE(is_near((*call)["out"], exact, relative_bound(logits), 1e-30))
                << describe(form.config, form, tier) << (row ? " row " : " column ") << offset;
          }
}

TEST(Sinkhorn, reads_nothing_else_of_the_config) {
  Random random;
  Context context;
  Form form;
  auto call = make_sinkhorn(form, random);
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  const Array expected = call->values("out");
  call->config.streams = -5;
  call->config.mode = 99;
  call->config.rms_eps = NAN;
  call->config.post_multiplier = -1;
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  EXPECT_EQ(expected, call->values("out"));
}

}  // namespace
