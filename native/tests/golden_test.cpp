// SPDX-License-Identifier: Apache-2.0
// The library against PyTorch's float64 on every golden case, forward and backward, in every tier.
#include "call.h"

using namespace mhc_test;

namespace {

struct Operation {
  const char* name;
  Maker forward, backward;
};
const std::vector<Operation> kOperations = {
    {"coefficients", make_coefficients, make_coefficients_backward},
    {"sinkhorn", make_sinkhorn, make_sinkhorn_backward},
    {"pre", make_pre, make_pre_backward},
    {"post", make_post, make_post_backward},
    {"boundary", make_boundary, make_boundary_backward},
    {"head", make_head, make_head_backward},
    {"rmsnorm", make_rmsnorm, make_rmsnorm_backward},
    {"expand", make_expand, make_expand_backward},
    {"fp8_quantize", make_fp8_quantize, nullptr},
    {"gain", make_gain, nullptr},
};

struct GoldenCase {
  std::string name;
  const Operation* operation;
};

std::vector<GoldenCase> all_cases() {
  std::vector<GoldenCase> all;
  for (const Operation& operation : kOperations)
    for (const std::string& name : golden::cases(operation.name)) all.push_back({name, &operation});
  return all;
}

class Golden : public testing::TestWithParam<GoldenCase> {
 protected:
  void check(const golden::Case& c, const Maker& make) {
    Random random;
    auto call = make(form_of(c), random);
    fill_from_golden(*call, c);
    std::vector<int32_t> all = tiers();
    if (mhc_cpu_tiers() >> MHC_CPU_TIER_COUNTING & 1) all.push_back(MHC_CPU_TIER_COUNTING);
    for (int32_t tier : all) {
      SCOPED_TRACE(mhc_cpu_tier_name(tier));
      Context context(tier, 2);
      call->poison_outputs();
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      expect_golden(*call, c, c.name().ends_with("_hard") ? 1e-5 : 3e-6);  // hard logits: N(0, 10^2)
    }
  }
};

TEST_P(Golden, forward) { check(golden::Case(GetParam().name), GetParam().operation->forward); }

TEST_P(Golden, backward) {
  const golden::Case c(GetParam().name);
  const bool differentiated = c.has("d_x") || c.has("d_logits") || c.has("d_parameters_bias");
  if (GetParam().operation->backward && differentiated) check(c, GetParam().operation->backward);
}

INSTANTIATE_TEST_SUITE_P(all, Golden, testing::ValuesIn(all_cases()), [](const auto& info) { return info.param.name; });

// The config that make_golden.py spells out field by field is the one that mhc_config_init gives.
TEST(GoldenConfig, presets_are_the_code_bases) {
  const char* names[] = {"PAPER", "DEEPSEEK_V4", "DEEPSEEK_V4_1", "MEGATRON", "TRANSFORMER_ENGINE", "LIGER"};
  for (const std::string& name : golden::cases("coefficients")) {
    const golden::Case c(name);
    for (int32_t p = 0; p < 6; ++p) {
      if (c.text("preset") != names[p]) continue;
      const mhc_config expected = c.config(), actual = preset(p, expected.streams);
      EXPECT_EQ(0, memcmp(&expected, &actual, sizeof expected)) << name;
    }
  }
}

}  // namespace
