// SPDX-License-Identifier: Apache-2.0
// mhc_boundary_backward against the oracle.
#include "call.h"

using namespace mhc_test;

namespace {

// What the forward of the same inputs stored: the oracle starts from its x_{l+1} and h, since a tie that float32 sees
// differently is not what is tested here, and the backward from what it saved of them.
std::unique_ptr<Call> forward_of(Call& backward, const Form& form, Random& random, const Context& context) {
  auto forward = make_boundary(form, random);
  for (Operand& o : forward->operands())
    if (o.role == Role::input) o.tensor->set_bytes(backward[o.name].bytes());
  EXPECT_EQ(forward->run(context), MHC_OK) << mhc_last_error();
  for (const std::string name : {"mix", "inv_rms"})
    if (backward.has(name)) backward[name].set_bytes((*forward)["next." + name].bytes());
  return forward;
}

Named oracle_of(const Call& c, const Form& form, const Call& forward) {
  const oracle::Boundary b = {c.config, oracle_parameters(c, "parameters."), form.shape(), form.types.streams.type, form.types.layer.type,
                              c.values("x"), layer_output(c), c.values("post_mix"), c.values("res_mix"), c.values("shifted_pre_mix"),
                              c.values("norm_weight"), *c.eps, forward.values("x_next"), forward.values("h")};
  const auto d = oracle::boundary_backward(
      b, {c.values("d_h"), c.values("d_x_next"), c.values("d_pre_mix_next"), c.values("d_post_mix_next"), c.values("d_res_mix_next")});
  return {{"d_x", d.d_x}, {"d_f", d.d_f}, {"d_post_mix", d.d_post_mix}, {"d_res_mix", d.d_res_mix},
          {"d_shifted_pre_mix", d.d_shifted_pre_mix}, {"d_norm_weight", d.d_norm_weight},
          {"d_parameters.projection", d.d_parameters.projection}, {"d_parameters.scale", d.d_parameters.scale},
          {"d_parameters.bias", d.d_parameters.bias}, {"d_parameters.norm_weight", d.d_parameters.norm_weight}};
}

void check(Call& c, const Form& form, Random& random, const Context& context) {
  const auto forward = forward_of(c, form, random, context);
  ASSERT_EQ(c.run(context), MHC_OK) << mhc_last_error();
  const Known bounds = known([&] { return oracle_of(c, form, *forward); }, random);
  for (const auto& [name, exact] : bounds.exact) {
    if (!c.has(name)) continue;
    EXPECT_TRUE(rounds_to(c[name], exact, bounds.slack.at(name))) << name;
  }
}

TEST(BoundaryBackward, agrees_with_the_oracle) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4_1}) {
    Form start;
    start.config = preset(p, 4);
    start.norm = p == MHC_PRESET_DEEPSEEK_V4_1;
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_boundary_backward(form, random);
      check(*call, form, random, context);
    });
  }
}

TEST(BoundaryBackward, agrees_with_the_oracle_with_f_in_fp8) {
  Random random;
  Form start;
  start.fp8_f = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_boundary_backward(form, random);
    check(*call, form, random, context);
  });
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
        SCOPED_TRACE(tier_name(tier) + ", " + variant.name + ", " + form.describe());
        auto call = variant.make(form, random);
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
