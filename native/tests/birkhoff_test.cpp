// SPDX-License-Identifier: Apache-2.0
// mhc_birkhoff: what it promises is what is tested, each step against the best of all permutations.
#include <algorithm>
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

struct Decomposition {
  Array matrix, weight, permutation, terms, remainder;
  int64_t n, limit;
};

Decomposition of(const Call& c, int64_t b, int64_t n) {
  auto part = [&](const char* name, int64_t size) {
    const Array all = c.values(name);
    return Array(all.begin() + b * size, all.begin() + (b + 1) * size);
  };
  const int64_t limit = c["weight"].shape()[1];
  return {part("matrix", n * n), part("weight", limit), part("permutation", limit * n), part("terms", 1), part("remainder", 1), n, limit};
}

void check(const Decomposition& d) {
  Array left = d.matrix;
  const auto terms = (int64_t)d.terms[0];
  ASSERT_LE(terms, d.limit);
  for (int64_t k = 0; k < d.limit; ++k) {
    Array order(d.permutation.begin() + k * d.n, d.permutation.begin() + (k + 1) * d.n), sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < d.n; ++i) ASSERT_EQ(sorted[i], i) << "term " << k << " is no permutation";
    if (k >= terms) {
      EXPECT_EQ(d.weight[k], 0) << "term " << k;
      EXPECT_TRUE(std::is_sorted(order.begin(), order.end())) << "unused term " << k << " is not the identity";
      continue;
    }
    EXPECT_GT(d.weight[k], 0) << "term " << k;
    EXPECT_LE(d.weight[k], k > 0 ? d.weight[k - 1] * (1 + 1e-6) : 2) << "term " << k;
    if (d.n <= 6) {
      EXPECT_NEAR(d.weight[k], oracle::bottleneck(left, d.n), 1e-6) << "term " << k;
    }
    for (int64_t i = 0; i < d.n; ++i) left[i * d.n + (int64_t)order[i]] -= d.weight[k];
  }
  EXPECT_NEAR(largest(left), d.remainder[0], 1e-6);
}

TEST(Birkhoff, takes_a_doubly_stochastic_matrix_apart) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (int32_t n : {1, 2, 3, 4, 5, 8, 16}) {
      Form form;
      form.streams = n;
      form.tokens = 7;
      form.layout = n % 2 ? Layout::padded : Layout::compact;
      auto call = make_birkhoff(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      for (int64_t b = 0; b < form.tokens; ++b) {
        SCOPED_TRACE(tier_name(tier) + " n=" + std::to_string(n) + " matrix " + std::to_string(b));
        const Decomposition d = of(*call, b, n);
        check(d);
        EXPECT_LT(d.remainder[0], 1e-5);
      }
    }
  }
}

TEST(Birkhoff, finds_the_permutation_that_a_matrix_is) {
  Random random;
  Context context;
  Form form;
  form.tokens = 1;
  auto call = make_birkhoff(form, random);
  (*call)["matrix"].set({0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0});
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  const Decomposition d = of(*call, 0, 4);
  EXPECT_EQ(d.terms, Array{1});
  EXPECT_EQ(d.weight[0], 1);
  EXPECT_EQ(Array(d.permutation.begin(), d.permutation.begin() + 4), (Array{1, 3, 0, 2}));
  EXPECT_EQ(d.remainder, Array{0});
}

// With fewer terms than it takes, the largest come first and the remainder says what is missing.
TEST(Birkhoff, stops_where_there_is_no_more_room) {
  Random random;
  Context context;
  Form form;
  auto call = make_birkhoff(form, random);
  call->replace("weight", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{form.tokens, 2}));
  call->replace("permutation", std::make_unique<Tensor>(kInt32, std::vector<int64_t>{form.tokens, 2, 4}));
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  for (int64_t b = 0; b < form.tokens; ++b) check(of(*call, b, 4));
}

// No room for terms is room enough to ask what would be left over.
TEST(Birkhoff, takes_no_terms_at_all) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier);
    Form form;
    auto call = make_birkhoff(form, random);
    call->replace("weight", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{form.tokens, 0}));
    call->replace("permutation", std::make_unique<Tensor>(kInt32, std::vector<int64_t>{form.tokens, 0, form.streams}));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array matrix = call->values("matrix"), terms = call->values("terms"), remainder = call->values("remainder");
    for (int64_t b = 0; b < form.tokens; ++b) {
      const auto first = matrix.begin() + b * 16;
      EXPECT_EQ(terms[b], 0) << tier_name(tier);
      EXPECT_EQ(remainder[b], *std::max_element(first, first + 16)) << tier_name(tier);
    }
  }
}

}  // namespace
