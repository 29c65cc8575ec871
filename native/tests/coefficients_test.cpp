// SPDX-License-Identifier: Apache-2.0
// mhc_coefficients against the oracle, in two steps as the error has two sources: the projection, bounded by float32 dot
// products; and what follows it, from the very mixes that the library stored, to 1e-5 relative.
#include <algorithm>
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

// Rounding scale * mix + bias moves a logit z by |z| 2^-24 twice, and a coefficient by at most four times that: the
// matrix balancing answers each change of a logit with changes of its row's and its column's factor. Exact exponentials
// and 20 alternations in float32 have to fit into the 1e-5.
double relative_bound(const mhc_config& config, const oracle::Parameters& p, const Array& mix) {
  const double largest_logit = config.is_static || p.scale.empty() ? largest(p.bias) : largest(mix) * largest(p.scale) + largest(p.bias);
  return 1e-5 + 8 * 0x1p-24 * largest_logit;
}

void check_projection(Call& c, const Form& form, const oracle::Parameters& p, const std::string& prefix, const Array& x) {
  if (!c.has(prefix + "mix")) return;
  const oracle::Parameters size{absolute(p.projection), p.scale, p.bias, absolute(p.norm_weight)};
  const auto exact = oracle::project(c.config, p, x, form.shape());
  const auto magnitude = oracle::project(c.config, size, absolute(x), form.shape());
  EXPECT_TRUE(rounds_to(c[prefix + "mix"], exact.mix, magnitude.mix, kDotFactor));
  EXPECT_TRUE(rounds_to(c[prefix + "inv_rms"], exact.inv_rms, exact.inv_rms, kDotFactor));
}

void check_activation(Call& c, const Form& form, const oracle::Parameters& p, const std::string& prefix) {
  oracle::Coefficients exact;
  exact.mix = c.values(prefix + "mix");
  oracle::activate(c.config, p, form.tokens, exact);
  const double relative = relative_bound(c.config, p, exact.mix);
  const double absolute = c.config.mode == MHC_MODE_HC ? relative * (largest(p.scale) + largest(p.bias)) : 1e-35;
  EXPECT_TRUE(is_near(c[prefix + "pre_mix"], exact.pre_mix, relative, absolute));
  EXPECT_TRUE(is_near(c[prefix + "post_mix"], exact.post_mix, relative, absolute));
  EXPECT_TRUE(is_near(c[prefix + "res_mix"], exact.res_mix, relative, absolute));
}

void check(Call& c, const Form& form) {
  const oracle::Parameters p = oracle_parameters(c, "parameters.");
  check_projection(c, form, p, "out.", c.values("x"));
  check_activation(c, form, p, "out.");
}

std::vector<mhc_config> configs() {
  std::vector<mhc_config> all;
  for (int32_t p = 0; p < 6; ++p) all.push_back(preset(p, 4));
  for (int32_t mode : {MHC_MODE_RESIDUAL, MHC_MODE_HC, MHC_MODE_MHC, MHC_MODE_MHC_LITE})
    for (int32_t is_static : {0, 1}) {
      mhc_config config = preset(MHC_PRESET_LIGER, 4);
      config.mode = mode;
      config.is_static = is_static;
      config.pre_eps = 1e-2f;  // every eps another, so that none can stand in for another
      config.sinkhorn_eps = 3e-4f;
      config.rms_eps = 2e-5f;
      config.post_multiplier = 1.25f;
      config.iterations = 10;
      all.push_back(config);
    }
  return all;
}

TEST(Coefficients, agree_with_the_oracle) {
  Random random;
  Form start;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_coefficients(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check(*call, form);
  });
}

TEST(Coefficients, agree_with_the_oracle_in_every_mode_and_preset) {
  Random random;
  for (const mhc_config& config : configs())
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (const oracle::Shape& shape : std::vector<oracle::Shape>{{19, 4, 33}, {5, 2, 64}, {3, 5, 9}, {2, 1, 7}})
        for (bool norm_weight : {false, true}) {
          Form form;
          form.config = config;
          form.tokens = shape.tokens;
          form.streams = (int32_t)shape.streams;
          form.width = shape.width;
          form.norm_weight = norm_weight;
          form.types = kTypes[random.integer(0, 2)];
          SCOPED_TRACE(tier_name(tier) + ", " + form.describe() + " mode " + std::to_string(config.mode));
          auto call = make_coefficients(form, random);
          ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
          check(*call, form);
          if (testing::Test::HasFailure()) return;
        }
    }
}

// How far mixes are from exact ones, at most, of the sum of their terms' magnitudes.
double relative_error_of_mix(Call& c, const Form& form) {
  const oracle::Parameters p = oracle_parameters(c, "parameters."), size{absolute(p.projection), p.scale, p.bias, absolute(p.norm_weight)};
  const Array x = c.values("x"), mix = c.values("out.mix"), exact = oracle::project(c.config, p, x, form.shape()).mix,
              magnitude = oracle::project(c.config, size, absolute(x), form.shape()).mix;
  double worst = 0;
  for (size_t i = 0; i < mix.size(); ++i) worst = std::max(worst, std::abs(mix[i] - exact[i]) / magnitude[i]);
  return worst;
}

// Within TF32's bound where that is asked for, and far closer where it is not.
TEST(Coefficients, are_as_precise_as_asked_for) {
  Random random;
  for (int32_t tier : tiers())
    for (const Types& types : kTypes)
      for (int64_t width : {1, 300}) {
        Context context(tier, 2);
        Form form;
        form.tokens = 21;
        form.width = width;
        form.types = types;
        SCOPED_TRACE(tier_name(tier) + ", " + form.describe());
        auto call = make_coefficients(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        const double full = relative_error_of_mix(*call, form);
        call->config.projection_precision = MHC_PROJECTION_TF32;
        call->poison_outputs();
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        const double tf32 = relative_error_of_mix(*call, form);
        EXPECT_LE(full, 0x1p-20);
        EXPECT_LE(tf32, 0x1p-11);
        if (tier == kCuda && types.streams.bytes == 2) {
          EXPECT_GT(tf32, 8 * full) << "not in TF32";
        } else {
          EXPECT_EQ(tf32, full) << "computed as always";
        }
      }
}

// End to end at the size that logits have in training, fp32 throughout.
TEST(Coefficients, are_exact_to_1e_5_end_to_end) {
  Random random;
  for (int32_t tier : tiers())
    for (int32_t p = 0; p < 6; ++p) {
      Context context(tier, 2);
      Form form;
      form.config = preset(p, 4);
      form.tokens = 29;
      form.width = 256;
      auto call = make_coefficients(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      const auto exact = oracle::coefficients(call->config, oracle_parameters(*call, "parameters."), call->values("x"), form.shape());
      EXPECT_TRUE(is_near((*call)["out.pre_mix"], exact.pre_mix, 1e-5)) << tier_name(tier) << " preset " << p;
      EXPECT_TRUE(is_near((*call)["out.post_mix"], exact.post_mix, 1e-5)) << tier_name(tier) << " preset " << p;
      EXPECT_TRUE(is_near((*call)["out.res_mix"], exact.res_mix, 1e-5)) << tier_name(tier) << " preset " << p;
    }
}

// What is left of a number behind the eleven bits that a tensor core takes is largest here, and of one sign in all terms.
TEST(Coefficients, agree_with_the_oracle_where_the_low_bits_are_set) {
  Random random;
  const double low_bits = 1 + 0x1p-10 - 0x1p-23;
  for (int32_t tier : tiers())
    for (int64_t width : {1, 3, 64, 300})
      for (const Types& types : kTypes) {
        Context context(tier);
        Form form;
        form.types = types;
        form.tokens = 3;
        form.width = width;
        auto call = make_coefficients(form, random);
        Tensor& x = (*call)["x"];
        x.set(Array(x.values().size(), low_bits));
        Tensor& projection = (*call)["parameters.projection"];
        projection.set(Array(projection.values().size(), low_bits));
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        SCOPED_TRACE(tier_name(tier) + ", " + form.describe());
        check_projection(*call, form, oracle_parameters(*call, "parameters."), "out.", call->values("x"));
        if (testing::Test::HasFailure()) return;
      }
}

// Logits of N(0, 10^2), where conventions differ most and exponentials are far apart.
TEST(Coefficients, take_hard_logits) {
  Random random;
  for (const mhc_config& config : configs())
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      Form form;
      form.config = config;
      form.tokens = 50;
      auto call = make_coefficients(form, random);
      if (call->has("parameters.scale")) (*call)["parameters.scale"].set(Array(3, 10.0));
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      SCOPED_TRACE(tier_name(tier) + " mode " + std::to_string(config.mode));
      check(*call, form);
      if (testing::Test::HasFailure()) return;
    }
}

// A residual of zeros has mixes of zero, and one of tiny or huge numbers the mixes of its direction.
TEST(Coefficients, do_not_depend_on_the_size_of_x) {
  Random random;
  for (int32_t tier : tiers())
    for (double size : {0.0, 1e-6, 1e6}) {
      Context context(tier);
      Form form;
      auto call = make_coefficients(form, random);
      Array x = call->values("x");
      for (double& v : x) v *= size;
      (*call)["x"].set(x);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      SCOPED_TRACE(tier_name(tier) + " size " + std::to_string(size));
      check(*call, form);
    }
}

// All three mixes as slices of one [T, m] buffer.
TEST(Coefficients, can_be_sliced_out_of_one_buffer) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    const int64_t t = form.tokens, n = form.streams, m = n * n + 2 * n;
    auto call = make_coefficients(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array pre = call->values("out.pre_mix"), post = call->values("out.post_mix"), res = call->values("out.res_mix");
    Tensor whole(kFp32, {t, m});
    call->replace("out.pre_mix", std::make_unique<Tensor>(whole, 0, std::vector{t, n}, std::vector{m, int64_t{1}}));
    call->replace("out.post_mix", std::make_unique<Tensor>(whole, n, std::vector{t, n}, std::vector{m, int64_t{1}}));
    call->replace("out.res_mix", std::make_unique<Tensor>(whole, 2 * n, std::vector{t, n, n}, std::vector{m, n, int64_t{1}}));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_TRUE(pre == call->values("out.pre_mix") && post == call->values("out.post_mix") && res == call->values("out.res_mix"));
  });
}

}  // namespace
