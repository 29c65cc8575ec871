// SPDX-License-Identifier: Apache-2.0
// mhc_doubly_stochastic_distance against the oracle.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

TEST(DoublyStochasticDistance, agrees_with_the_oracle) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (int32_t k : {1, 2, 3, 4, 7, 16, 17, 100})
      for (Layout layout : {Layout::compact, Layout::padded}) {
        Form form;
        form.streams = k;
        form.layout = layout;
        auto call = make_doubly_stochastic_distance(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        const Array exact = oracle::doubly_stochastic_distance(call->values("matrix"), form.tokens, k);
        EXPECT_TRUE(is_near((*call)["distance"], exact, 1e-6, 1e-7 * k)) << tier_name(tier) << " k=" << k;
      }
  }
}

TEST(DoublyStochasticDistance, sees_each_kind_of_fault) {
  const std::vector<std::pair<Array, double>> cases = {
      {{0.5, 0.5, 0.5, 0.5}, 0}, {{1, 0, 0, 1}, 0}, {{1.5, -0.5, -0.5, 1.5}, 0.5},
      {{1, 0.25, 0, 1}, 0.25},   {{1, 0, 0, 0}, 1}, {{0.5, NAN, 0.5, 0.5}, NAN}};
  Random random;
  for (int32_t tier : tiers())
    for (const auto& [matrix, distance] : cases) {
      Context context(tier);
      Form form;
      form.streams = 2;
      form.tokens = 1;
      auto call = make_doubly_stochastic_distance(form, random);
      (*call)["matrix"].set(matrix);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      EXPECT_TRUE(is_near((*call)["distance"], {distance}, 0, 1e-7)) << tier_name(tier);
    }
}

}  // namespace
