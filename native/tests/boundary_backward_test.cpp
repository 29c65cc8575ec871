// SPDX-License-Identifier: Apache-2.0
// mhc_boundary_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

// x_{l+1} and h as the library rounds them: a tie that float32 sees differently is not what is tested here.
void take_stored(const Call& backward, const Form& form, Random& random, const Context& context, oracle::Boundary* b) {
  auto forward = make_boundary(form, random);
  for (Operand& o : forward->operands())
    if (o.role == Role::input) o.tensor->set_bytes(backward[o.name].bytes());
  ASSERT_EQ(forward->run(context), MHC_OK) << mhc_last_error();
  b->x_next = forward->values("x_next");
  b->h = forward->values("h");
}

oracle::Boundary inputs_of(const Call& c, const Form& form) {
  return {c.config,           oracle_parameters(c, "parameters."), form.shape(),      form.types.streams.type,
          form.types.layer.type, c.values("x"),                    c.values("f"),     c.values("post_mix"),
          c.values("res_mix"),   c.values("shifted_pre_mix"),      c.values("norm_weight"), *c.eps, {}, {}};
}

// Gradients far below the terms they are sums of are known to a float's share of those terms, hence the 0.1: those terms are of order 1.
// x_{l+1} is rebuilt and rounded: where the exact value is next to a tie it may go either way, one place of its type.
void expect_gradient(Call& c, const std::string& name, const Array& exact) {
  if (!c.has(name)) return;
  const double relative = c["x"].element() == kFp32 ? 5e-4 : 2e-3;
  EXPECT_TRUE(rounds_to(c[name], exact, Array(exact.size(), relative * (0.1 + largest(exact) + cancelled(c, name))))) << name;
}

void check(Call& c, const Form& form, Random& random, const Context& context) {
  oracle::Boundary b = inputs_of(c, form);
  take_stored(c, form, random, context, &b);
  const auto exact = oracle::boundary_backward(b, {c.values("d_h"), c.values("d_x_next"), c.values("d_pre_mix_next"),
                                                   c.values("d_post_mix_next"), c.values("d_res_mix_next")});
  expect_gradient(c, "d_x", exact.d_x);
  expect_gradient(c, "d_f", exact.d_f);
  expect_gradient(c, "d_post_mix", exact.d_post_mix);
  expect_gradient(c, "d_res_mix", exact.d_res_mix);
  expect_gradient(c, "d_shifted_pre_mix", exact.d_shifted_pre_mix);
  expect_gradient(c, "d_norm_weight", exact.d_norm_weight);
  expect_gradient(c, "d_parameters.projection", exact.d_parameters.projection);
  expect_gradient(c, "d_parameters.scale", exact.d_parameters.scale);
  expect_gradient(c, "d_parameters.bias", exact.d_parameters.bias);
  expect_gradient(c, "d_parameters.norm_weight", exact.d_parameters.norm_weight);
}

TEST(BoundaryBackward, agrees_with_the_oracle) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4_1}) {
    Form start;
    start.config = preset(p, 4);
    start.norm = p == MHC_PRESET_DEEPSEEK_V4_1;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_boundary_backward(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check(*call, form, random, context);
    });
  }
}

TEST(BoundaryBackward, agrees_with_the_oracle_in_every_form) {
  Random random;
  for (const Variant& variant : variants()) {
    if (variant.name.rfind("boundary_backward", 0) != 0) continue;
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (const Types& types : kTypes) {
        Form form = variant.form;
        form.types = types;
        form.tokens = 37;
        SCOPED_TRACE(std::string(mhc_cpu_tier_name(tier)) + ", " + variant.name + ", " + form.describe());
        auto call = variant.make(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        check(*call, form, random, context);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(BoundaryBackward, in_place_gives_the_same_bits) {
  Random random;
  for_each_form({}, [&](const Form& form, const Context& context) {
    auto call = make_boundary_backward(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    std::vector<Array> expected;
    for (Operand& o : call->operands()) expected.push_back(o.role == Role::output ? o.tensor->values() : Array{});
    Tensor& d_x_next = (*call)["d_x_next"];
    call->replace("d_x", std::make_unique<Tensor>(d_x_next, 0, d_x_next.shape(), d_x_next.strides()));
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

}  // namespace
