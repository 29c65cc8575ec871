// SPDX-License-Identifier: Apache-2.0
// mhc_boundary: to the bit what its five operations give one after the other, and each of them is held against the oracle
// in its own test; the golden cases hold the whole.
#include <algorithm>
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

void set(Call& to, const std::string& name, const Call& from, const std::string& source) {
  to[name].set_bytes(from[source].bytes());
}

Form without_fp8(Form form) {
  form.fp8 = form.norm = false;
  return form;
}

// mhc_post, or x itself where there is no f.
std::unique_ptr<Tensor> entering(const Call& fused, const Form& form, Random& random, const Context& context) {
  auto x = std::make_unique<Tensor>(form.types.streams, fused["x"].shape());
  x->set_bytes(fused["x"].bytes());
  if (form.first) return x;
  Form post_form = form;
  post_form.orientation = form.config.orientation;
  auto post = make_post(post_form, random);
  for (const char* name : {"x", "f", "f_scale", "post_mix", "res_mix"})
    if (fused.has(name)) set(*post, name, fused, name);
  EXPECT_EQ(post->run(context), MHC_OK) << mhc_last_error();
  EXPECT_TRUE(same_bits((*post)["x_next"], fused["x_next"])) << "x_next";
  x->set_bytes((*post)["x_next"].bytes());
  return x;
}

void check_coefficients(const Call& fused, const Form& form, const Tensor& x, Random& random, const Context& context) {
  auto single = make_coefficients(without_fp8(form), random);
  (*single)["x"].set_bytes(x.bytes());
  for (Operand& o : single->operands())
    if (o.role == Role::input && o.name != "x") set(*single, o.name, fused, o.name);
  ASSERT_EQ(single->run(context), MHC_OK) << mhc_last_error();
  for (const std::string name : {"pre_mix", "post_mix", "res_mix", "mix", "inv_rms"}) {
    if (!fused.has("next." + name)) continue;
    EXPECT_TRUE(same_bits((*single)["out." + name], fused["next." + name])) << name;
  }
}

void check_quantized(const Call& fused, const Form& form, const Tensor& source, Random& random, const Context& context) {
  auto quantize = make_fp8_quantize(form, random);
  (*quantize)["src"].set_bytes(source.bytes());
  ASSERT_EQ(quantize->run(context), MHC_OK) << mhc_last_error();
  EXPECT_TRUE(same_bits((*quantize)["dst"], fused["h_fp8"])) << "h_fp8";
  EXPECT_EQ(quantize->values("scale"), fused.values("h_scale"));
}

void check_layer_input(const Call& fused, const Form& form, const Tensor& x, Random& random, const Context& context) {
  auto pre = make_pre(form, random);
  (*pre)["x"].set_bytes(x.bytes());
  set(*pre, "pre_mix", fused, form.config.shifted ? "shifted_pre_mix" : "next.pre_mix");
  ASSERT_EQ(pre->run(context), MHC_OK) << mhc_last_error();
  EXPECT_TRUE(same_bits((*pre)["h"], fused["h"])) << "h";
  if (!form.norm) {
    if (form.fp8) check_quantized(fused, form, (*pre)["h"], random, context);
    return;
  }
  Form norm_form = form;
  norm_form.norm_weight = true;
  auto norm = make_rmsnorm(norm_form, random);
  *norm->eps = *fused.eps;
  set(*norm, "x", *pre, "h");
  set(*norm, "weight", fused, "norm_weight");
  ASSERT_EQ(norm->run(context), MHC_OK) << mhc_last_error();
  EXPECT_TRUE(same_bits((*norm)["y"], fused["y"])) << "y";
  if (form.fp8) check_quantized(fused, form, (*norm)["y"], random, context);
}

void expect_unfused(const Call& fused, const Form& form, Random& random, const Context& context) {
  const auto x = entering(fused, form, random, context);
  check_coefficients(fused, form, *x, random, context);
  check_layer_input(fused, form, *x, random, context);
}

TEST(Boundary, is_its_parts_to_the_bit) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_unfused(*call, form, random, context);
  });
}

TEST(Boundary, is_its_parts_to_the_bit_with_f_in_fp8) {
  Random random;
  Form start;
  start.fp8_f = start.fp8 = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_unfused(*call, form, random, context);
  });
}

TEST(Boundary, is_its_parts_to_the_bit_shifted_with_norm_and_fp8) {
  Random random;
  Form start;
  start.config = preset(MHC_PRESET_DEEPSEEK_V4_1, 4);
  start.norm = start.fp8 = true;
  start.rounding = MHC_FP8_SCALE_POWER_OF_TWO;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_unfused(*call, form, random, context);
  });
}

TEST(Boundary, is_its_parts_to_the_bit_in_every_form) {
  Random random;
  for (const Variant& variant : variants()) {
    if (variant.name.rfind("boundary", 0) != 0 || variant.name.rfind("boundary_backward", 0) == 0) continue;
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (const Types& types : kTypes)
        for (int64_t tokens : {1, 8, 43}) {
          Form form = variant.form;
          form.types = types;
          form.tokens = tokens;
          SCOPED_TRACE(tier_name(tier) + ", " + variant.name + ", " + form.describe());
          auto call = make_boundary(form, random);
          ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
          expect_unfused(*call, form, random, context);
          if (testing::Test::HasFailure()) return;
        }
    }
  }
}

// Without f x is not converted on its way, or AVX512_BF16 would lose these numbers, whose sums are not subnormal again.
TEST(Boundary, is_its_parts_to_the_bit_for_subnormal_numbers) {
  Random random;
  Form start;
  start.first = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    Array x = random.normals(form.tokens * form.shape().row());
    for (double& value : x) value = std::ldexp(1.0 + std::fmod(std::fabs(value), 1.0), -127);
    (*call)["x"].set(x);
    (*call)["parameters.bias"].set(Array((*call)["parameters.bias"].count(), 3.0));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    if (form.types.streams == kBf16 && form.streams > 2) {
      const Array h = call->values("h");
      EXPECT_TRUE(std::all_of(h.begin(), h.end(), [](double value) { return value > 0; }));
    }
    expect_unfused(*call, form, random, context);
  });
}

TEST(Boundary, in_place_gives_the_same_bits) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    std::vector<Array> expected;
    for (Operand& o : call->operands()) expected.push_back(o.role == Role::output ? o.tensor->values() : Array{});
    Tensor& x = (*call)["x"];
    call->replace("x_next", std::make_unique<Tensor>(x, 0, x.shape(), x.strides()));
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    size_t i = 0;
    for (Operand& o : call->operands()) {
      if (o.role == Role::output) {
        EXPECT_TRUE(expected[i] == o.tensor->values()) << o.name;
      }
      ++i;
    }
  });
}

// Of h, y and h_fp8 any one is enough.
TEST(Boundary, gives_what_is_asked_for_alone) {
  Random random;
  for (int32_t tier : tiers())
    for (const Types& types : kTypes)
      for (const std::vector<std::string>& wanted : std::vector<std::vector<std::string>>{{"h"}, {"y"}, {"h_fp8", "h_scale"}}) {
        Context context(tier, 2);
        Form form;
        form.norm = form.fp8 = true;
        form.types = types;
        form.width = 140;
        auto all = make_boundary(form, random), one = make_boundary(form, random);
        for (Operand& o : all->operands())
          if (o.role == Role::input) set(*one, o.name, *all, o.name);
        for (const char* name : {"h", "y", "h_fp8", "h_scale"})
          if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) one->drop(name);
        ASSERT_EQ(all->run(context), MHC_OK) << mhc_last_error();
        ASSERT_EQ(one->run(context), MHC_OK) << mhc_last_error();
        for (const std::string& name : wanted)
          EXPECT_TRUE(same_bits((*all)[name], (*one)[name])) << name << " alone, " << tier_name(tier) << " " << form.describe();
      }
}

// Against the oracle too, from the values that the library itself stored on the way.
TEST(Boundary, agrees_with_the_oracle) {
  Random random;
  Form start;
  start.norm = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_boundary(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    Call& c = *call;
    const oracle::Shape s = form.shape();
    const Array x = c.values("x_next"), mix = c.values("next.pre_mix");
    EXPECT_TRUE(rounds_to(c["h"], oracle::pre(x, mix, s), oracle::pre(absolute(x), absolute(mix), s), form.streams));
    const Array y = oracle::rmsnorm(c.values("h"), c.values("norm_weight"), *c.eps, form.width).y;
    EXPECT_TRUE(rounds_to(c["y"], y, absolute(y), kDotFactor));
    const auto exact = oracle::coefficients(c.config, oracle_parameters(c, "parameters."), x, s);
    EXPECT_TRUE(is_near(c["next.pre_mix"], exact.pre_mix, 2e-5));
    EXPECT_TRUE(is_near(c["next.res_mix"], exact.res_mix, 4e-5));
  });
}

// Scales stored column by column, as GEMMs want them.
TEST(Boundary, stores_scales_with_any_strides) {
  Random random;
  for (int32_t tier : tiers())
    for (bool norm : {false, true}) {
      SCOPED_TRACE(tier_name(tier));
      Context context(tier, 2);
      Form form;
      form.tokens = 19;
      form.width = 300;
      form.fp8 = true;
      form.norm = norm;
      auto call = make_boundary(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      const Array rows = call->values("h_scale");
      const std::vector<uint8_t> h_fp8 = (*call)["h_fp8"].bytes();
      call->replace("h_scale", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{19, 3}, std::vector<int64_t>{1, 19 + 3}));
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      EXPECT_EQ(call->values("h_scale"), rows);
      EXPECT_EQ((*call)["h_fp8"].bytes(), h_fp8);
      EXPECT_TRUE(call->padding_intact());
    }
}

}  // namespace
