// SPDX-License-Identifier: Apache-2.0
// mhc_recompute: to the bit what the boundaries gave, whatever is asked for.
#include "call.h"

using namespace mhc_test;

namespace {

std::string layer(int32_t l) { return "layer[" + std::to_string(l) + "]."; }

void expect_same(const Call& block, const std::string& name, const Tensor& expected) {
  if (block.has(name)) {
    EXPECT_TRUE(same_bits(expected, block[name])) << name;
  }
}

// The boundaries that the block replaces, each from what the one before gave.
void expect_boundaries(const Call& block, const Form& form, Random& random, const Context& context) {
  std::unique_ptr<Call> before;
  for (int32_t l = 0; l < form.layers; ++l) {
    Form one = form;
    one.first = l == 0;
    auto boundary = make_boundary(one, random);
    Call& b = *boundary;
    const Tensor& x = l < 2 ? block["x"] : (*before)["x_next"];
    b["x"].set_bytes(x.bytes());
    if (l > 0) {
      for (const char* name : {"f", "f_scale"})
        if (b.has(name)) b[name].set_bytes(block[layer(l - 1) + name].bytes());
      b["post_mix"].set_bytes((*before)["next.post_mix"].bytes());
      b["res_mix"].set_bytes((*before)["next.res_mix"].bytes());
    }
    if (form.config.shifted) b["shifted_pre_mix"].set_bytes((l == 0 ? block["shifted_pre_mix"] : (*before)["next.pre_mix"]).bytes());
    for (const char* name : {"projection", "scale", "bias", "norm_weight"})
      if (b.has(std::string("parameters.") + name))
        b[std::string("parameters.") + name].set_bytes(block[layer(l) + "parameters." + name].bytes());
    ASSERT_EQ(b.run(context), MHC_OK) << mhc_last_error();
    for (const char* name : {"pre_mix", "post_mix", "res_mix", "mix", "inv_rms"})
      if (b.has(std::string("next.") + name)) expect_same(block, layer(l) + "out." + name, b[std::string("next.") + name]);
    expect_same(block, layer(l) + "x", l == 0 ? block["x"] : b["x_next"]);
    expect_same(block, layer(l) + "h", b["h"]);
    before = std::move(boundary);
  }
  if (!block.has("x_next")) return;
  Form last = form;
  last.orientation = form.config.orientation;
  auto post = make_post(last, random);
  (*post)["x"].set_bytes((form.layers == 1 ? block["x"] : (*before)["x_next"]).bytes());
  for (const char* name : {"f", "f_scale"})
    if (post->has(name)) (*post)[name].set_bytes(block[layer(form.layers - 1) + name].bytes());
  (*post)["post_mix"].set_bytes((*before)["next.post_mix"].bytes());
  (*post)["res_mix"].set_bytes((*before)["next.res_mix"].bytes());
  ASSERT_EQ(post->run(context), MHC_OK) << mhc_last_error();
  expect_same(block, "x_next", (*post)["x_next"]);
}

TEST(Recompute, is_the_boundaries_to_the_bit) {
  Random random;
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4_1}) {
    Form start;
    start.config = preset(p, 4);
    for_each_form(start, [&](const Form& form, const Context& context) {
      auto call = make_recompute(form, random);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      expect_boundaries(*call, form, random, context);
    });
  }
}

TEST(Recompute, is_the_boundaries_to_the_bit_with_f_in_fp8) {
  Random random;
  Form start;
  start.fp8_f = true;
  for_each_form(start, [&](const Form& form, const Context& context) {
    auto call = make_recompute(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_boundaries(*call, form, random, context);
  });
}

TEST(Recompute, is_the_boundaries_to_the_bit_in_every_form) {
  Random random;
  for (const Variant& variant : variants()) {
    if (variant.name.rfind("coefficients_", 0) != 0 || variant.name.rfind("coefficients_backward", 0) == 0) continue;
    for (int32_t tier : tiers())
      for (int32_t layers : {1, 2, 5}) {
        Context context(tier, 2);
        Form form = variant.form;
        form.layers = layers;
        form.tokens = 21;
        form.types = kTypes[random.integer(0, 4)];
        SCOPED_TRACE(tier_name(tier) + ", " + variant.name + ", " + form.describe());
        auto call = make_recompute(form, random);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        expect_boundaries(*call, form, random, context);
        if (testing::Test::HasFailure()) return;
      }
  }
}

// Without the last f there is no x_next, and the rest is as before; layers keep nothing but their coefficients.
TEST(Recompute, makes_what_is_asked_for) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    Form form;
    auto call = make_recompute(form, random);
    for (const char* name : {"x_next", "layer[2].f", "layer[0].x", "layer[1].x", "layer[1].h"}) call->drop(name);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_boundaries(*call, form, random, context);
  }
}

struct Device {
  int multiprocessors, shared_bytes;
};

// Blocks that hold two or three tiles, groups with one tile and with several batches, and a device too small for a tile on
// chip or for the width; rows and projections that can be copied in bulk, and others.
TEST(Recompute, is_the_boundaries_to_the_bit_on_devices_of_several_sizes) {
  Random random;
  for (const Device& device : {Device{2, 227 << 10}, Device{5, 227 << 10}, Device{3, 191 << 10}, Device{4, 150 << 10}, Device{1, 227 << 10}})
    for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4_1})
      for (bool odd : {false, true}) {
        Form form;
        form.config = preset(p, 4);
        form.types = odd ? Types{kBf16, kBf16} : Types{kFp16, kFp16};
        form.tokens = odd ? 101 : 84;  // 7 and 6 tiles
        form.width = odd ? 301 : 264;   // two units
        form.layers = odd ? 2 : 3;
        form.layout = odd ? Layout::padded : Layout::compact;
        form.norm_weight = p == MHC_PRESET_PAPER && device.multiprocessors == 2;
        if (p == MHC_PRESET_DEEPSEEK_V4_1 && device.multiprocessors == 5) form.config.orientation = MHC_IN_OUT;
        const Executor executor(device.multiprocessors, device.shared_bytes);
        Context context(tiers().front());
        SCOPED_TRACE(std::to_string(device.multiprocessors) + " multiprocessors, " + std::to_string(device.shared_bytes >> 10) + " KB, " +
                     form.describe());
        auto call = make_recompute(form, random);
        if (odd) call->drop("layer[0].x");
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        EXPECT_TRUE(call->padding_intact());
        expect_boundaries(*call, form, random, context);
        if (testing::Test::HasFailure()) return;
      }
}

// More layers than one kernel's arguments hold, and more than stay on chip.
TEST(Recompute, is_the_boundaries_to_the_bit_for_many_layers) {
  Random random;
  Context context(tiers().front());
  for (int32_t layers : {19, 65}) {
    Form form;
    form.types = {kBf16, kBf16};
    form.tokens = 19;
    form.layers = layers;
    auto call = make_recompute(form, random);
    for (int32_t l = 0; l < layers; ++l) call->drop(layer(l) + "x");
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    expect_boundaries(*call, form, random, context);
  }
}

// More tokens than a device's workspace takes at a time.
TEST(Recompute, is_the_boundaries_to_the_bit_for_large_residuals) {
  Random random;
  Context context;
  Form form;
  form.config.is_static = 1;  // without the product, which the executor is slow at
  form.tokens = 300;
  form.width = 8192;
  auto call = make_recompute(form, random);
  call->drop("layer[1].x");
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  expect_boundaries(*call, form, random, context);
}

// Which layers they are, in any order and however many there are, is said.
TEST(Recompute, refuses_layers_that_share_memory) {
  Random random;
  Context context(MHC_CPU_TIER_PLAIN);  // it is refused before any device is asked
  Form form;
  form.tokens = 2;
  form.width = 3;
  form.layers = 200;
  auto call = make_recompute(form, random);
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  for (const auto& [one, two] : std::vector<std::pair<int, int>>{{0, 1}, {2, 1}, {0, 199}, {199, 64}, {70, 69}, {127, 128}, {130, 191}, {198, 199}})
    for (const char* out : {"x", "h", "out.mix"})
      for (const char* other : {"x", "h", "f", "out.inv_rms", "parameters.bias"}) {
        const std::string first = layer(one) + out, second = layer(two) + other;
        mhc_tensor *moved = (*call)[first].get(), *to = (*call)[second].get();
        moved->data = to->data;
        moved->byte_offset = to->byte_offset;
        call->poison_outputs();
        EXPECT_EQ(call->invoke(context.get()), MHC_INVALID_ARGUMENT) << first << ", " << second;
        const std::string message = mhc_last_error();
        for (const std::string& part : {first, second, std::string("overlap")}) EXPECT_NE(message.find(part), std::string::npos) << message;
        EXPECT_TRUE(call->outputs_untouched()) << message;
        (*call)[first].repair();
      }
  EXPECT_EQ(call->run(context), MHC_OK) << mhc_last_error();
}

// Slices of one buffer lie between each other without sharing an element, and parameters may be one and the same.
TEST(Recompute, takes_layers_in_slices_of_one_buffer) {
  Random random;
  Context context(MHC_CPU_TIER_PLAIN);
  Form form;
  auto apart = make_recompute(form, random), sliced = make_recompute(form, random);
  const int64_t n = form.streams, T = form.tokens, L = form.layers;
  Tensor all(kFp32, {T, L, 2 * n});
  for (Operand& o : apart->operands())
    if (o.role == Role::input) (*sliced)[o.name].set_bytes(o.tensor->bytes());
  for (int32_t l = 0; l < L; ++l) {
    sliced->replace(layer(l) + "out.pre_mix", std::make_unique<Tensor>(all, l * 2 * n, std::vector<int64_t>{T, n}, std::vector<int64_t>{L * 2 * n, 1}));
    sliced->replace(layer(l) + "out.post_mix", std::make_unique<Tensor>(all, l * 2 * n + n, std::vector<int64_t>{T, n}, std::vector<int64_t>{L * 2 * n, 1}));
    for (Call* call : {apart.get(), sliced.get()})
      if (l > 0)
        call->replace(layer(l) + "parameters.bias", std::make_unique<Tensor>((*call)[layer(0) + "parameters.bias"], 0, std::vector<int64_t>{24}, std::vector<int64_t>{1}));
  }
  ASSERT_EQ(apart->run(context), MHC_OK) << mhc_last_error();
  ASSERT_EQ(sliced->run(context), MHC_OK) << mhc_last_error();
  for (Operand& o : apart->operands()) EXPECT_TRUE(same_bits(*o.tensor, (*sliced)[o.name])) << o.name;
}

}  // namespace
