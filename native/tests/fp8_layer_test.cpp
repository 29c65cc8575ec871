// SPDX-License-Identifier: Apache-2.0
// f in FP8, to the bit: what an operation gives for it is what it gives for the dequantised values, wherever a type can hold
// them, and float32 always can.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

struct Operation {
  const char* name;
  Maker make;
};
const std::vector<Operation>& operations() {
  static const std::vector<Operation> all = {{"post", make_post},
                                             {"post_backward", make_post_backward},
                                             {"boundary", make_boundary},
                                             {"boundary_backward", make_boundary_backward},
                                             {"recompute", make_recompute}};
  return all;
}

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// Gives plain what fp8 has, its f dequantised by the library.
void fill_dequantized(Call& plain, const Call& fp8, const Form& form, Random& random, const Context& context) {
  for (Operand& o : plain.operands()) {
    if (o.role == Role::output) continue;
    if (!(fp8[o.name].element() == kE4m3)) {
      o.tensor->set_bytes(fp8[o.name].bytes());
      continue;
    }
    auto dequantize = make_fp8_dequantize(form, random);
    (*dequantize)["src"].set_bytes(fp8[o.name].bytes());
    (*dequantize)["scale"].set_bytes(fp8[o.name + "_scale"].bytes());
    ASSERT_EQ(dequantize->run(context), MHC_OK) << mhc_last_error();
    o.tensor->set_bytes((*dequantize)["dst"].bytes());
  }
}

void expect_same_outputs(const Call& expected, const Call& actual) {
  for (Operand& o : const_cast<Call&>(expected).operands())
    if (o.role == Role::output) {
      EXPECT_TRUE(same_bits(*o.tensor, actual[o.name])) << o.name;
    }
}

void expect_dequantized(const Operation& operation, Form form, Random& random, const Context& context) {
  form.fp8_f = true;
  auto fp8 = operation.make(form, random);
  form.fp8_f = false;
  auto plain = operation.make(form, random);
  fill_dequantized(*plain, *fp8, form, random, context);
  ASSERT_EQ(fp8->run(context), MHC_OK) << mhc_last_error();
  ASSERT_EQ(plain->run(context), MHC_OK) << mhc_last_error();
  EXPECT_TRUE(fp8->padding_intact());
  expect_same_outputs(*plain, *fp8);
}

class Fp8Layer : public testing::TestWithParam<Operation> {
 protected:
  // Shapes with less than a tile, whole tiles and a rest, many streams; and enough tokens for the ways of large batches.
  void for_each(const std::function<void(const Form&, const Context&)>& body) const {
    for (int32_t tier : tiers()) {
      Context context(tier, 2);
      for (const oracle::Shape& shape : std::vector<oracle::Shape>{{3, 4, 1}, {7, 4, 127}, {2, 4, 128}, {5, 4, 300}, {3, 3, 129}, {37, 4, 264}, {2, 16, 140}, {300, 4, 32}})
        for (Layout layout : {Layout::compact, Layout::padded}) {
          if (tier == kCuda && !full() && shape.tokens > 100) continue;
          Form form;
          form.tokens = shape.tokens;
          form.streams = (int32_t)shape.streams;
          form.width = shape.width;
          form.layout = layout;
          if (shape.tokens == 5) form.config = preset(MHC_PRESET_DEEPSEEK_V4_1, 4);
          form.norm = shape.width == 264;
          SCOPED_TRACE(tier_name(tier) + ", " + form.describe());
          body(form, context);
          if (testing::Test::HasFailure()) return;
        }
    }
  }
  Random random_;
};

// Products with a power of two have the four bits of E4M3, which every type holds.
TEST_P(Fp8Layer, is_its_dequantised_values_where_scales_are_powers_of_two) {
  for_each([&](const Form& start, const Context& context) {
    Form form = start;
    form.rounding = MHC_FP8_SCALE_POWER_OF_TWO;
    for (const Types& types : kTypes) {
      form.types = types;
      expect_dequantized(GetParam(), form, random_, context);
      if (testing::Test::HasFailure()) return;
    }
  });
}

TEST_P(Fp8Layer, is_its_dequantised_values_in_float32) {
  for_each([&](const Form& form, const Context& context) { expect_dequantized(GetParam(), form, random_, context); });
}

// Scales as a GEMM wants them, column by column, and one for all the row.
TEST_P(Fp8Layer, takes_scales_with_any_strides) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(tier_name(tier));
    Context context(tier, 2);
    Form form;
    form.tokens = 19;
    form.width = 300;
    form.types = {kBf16, kBf16};
    form.fp8_f = true;
    auto rows = GetParam().make(form, random_);
    for (Operand& o : rows->operands())
      if (ends_with(o.name, "f_scale")) o.tensor->set(Array(19 * 3, 0.37));
    ASSERT_EQ(rows->run(context), MHC_OK) << mhc_last_error();
    for (const std::vector<int64_t>& strides : std::vector<std::vector<int64_t>>{{1, 19 + 3}, {3, 1}, {2, 0}, {0, 0}}) {
      auto columns = GetParam().make(form, random_);
      for (Operand& o : rows->operands()) {
        if (o.role == Role::output) continue;
        if (ends_with(o.name, "f_scale")) columns->replace(o.name, std::make_unique<Tensor>(kFp32, std::vector<int64_t>{19, 3}, strides));
        (*columns)[o.name].set_bytes(o.tensor->bytes());
      }
      ASSERT_EQ(columns->run(context), MHC_OK) << mhc_last_error();
      expect_same_outputs(*rows, *columns);
    }
  }
}

// Every code in some element, and scales that are 0, subnormal, infinite and no numbers: what becomes of them is what becomes
// of their product.
TEST_P(Fp8Layer, takes_every_code_and_scale) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(tier_name(tier));
    Context context(tier, 2);
    Form form;
    form.tokens = 14;
    form.width = 300;
    form.fp8_f = true;
    auto fp8 = GetParam().make(form, random_);
    const double scales[] = {1, 0, 0x1p-140, -3, INFINITY, NAN, 0x1p127};
    for (Operand& o : fp8->operands()) {
      if (o.tensor->element() == kE4m3) {
        std::vector<uint8_t> codes(14 * 300);
        for (int64_t i = 0; i < 14 * 300; ++i) codes[i] = (uint8_t)(i * 37 + i / 300);
        o.tensor->set_bytes(codes);
      } else if (ends_with(o.name, "f_scale")) {
        Array scale(14 * 3);
        for (int64_t i = 0; i < 14 * 3; ++i) scale[i] = scales[(i + i / 21) % 7];
        o.tensor->set(scale);
      }
    }
    form.fp8_f = false;
    auto plain = GetParam().make(form, random_);
    fill_dequantized(*plain, *fp8, form, random_, context);
    ASSERT_EQ(fp8->run(context), MHC_OK) << mhc_last_error();
    ASSERT_EQ(plain->run(context), MHC_OK) << mhc_last_error();
    for (Operand& o : plain->operands()) {
      if (o.role == Role::input) continue;  // as values: which of two NaNs it is follows the order of a sum's terms
      const Array expected = o.tensor->values(), actual = (*fp8)[o.name].values();
      for (size_t i = 0; i < expected.size(); ++i)
        ASSERT_TRUE(expected[i] == actual[i] || (std::isnan(expected[i]) && std::isnan(actual[i]))) << o.name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(all, Fp8Layer, testing::ValuesIn(operations()), [](const auto& info) { return std::string(info.param.name); });

// Streams of 16 bits hold what float32 ones would, rounded once: f is not rounded on its way, whatever its scales.
TEST(Fp8LayerPost, rounds_nothing_but_the_result) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (const Element& element : {kBf16, kFp16})
      for (int64_t width : {127, 300}) {
        Form form;
        form.width = width;
        form.types = {element, element};
        form.fp8_f = true;
        auto fp8 = make_post(form, random);
        form.types = {kFp32, kFp32};
        form.fp8_f = false;
        auto plain = make_post(form, random);
        for (Operand& o : plain->operands())
          if (o.role == Role::input) o.tensor->set(o.name == "f" ? layer_output(*fp8) : fp8->values(o.name));
        ASSERT_EQ(fp8->run(context), MHC_OK) << mhc_last_error();
        ASSERT_EQ(plain->run(context), MHC_OK) << mhc_last_error();
        EXPECT_EQ(fp8->values("x_next"), oracle::rounded(element.type, plain->values("x_next"))) << tier_name(tier);
      }
  }
}

// Some layers of a recompute in FP8, others not.
TEST(Fp8LayerRecompute, takes_layers_of_both_kinds) {
  Random random;
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(tier_name(tier));
    Context context(tier, 2);
    for (const Types& types : kTypes) {
      Form form;
      form.width = 140;
      form.types = types;
      form.rounding = MHC_FP8_SCALE_POWER_OF_TWO;
      auto plain = make_recompute(form, random), mixed = make_recompute(form, random);
      form.fp8_f = true;
      auto fp8 = make_recompute(form, random);
      const std::string f = "layer[1].f";
      fill_dequantized(*plain, *fp8, form, random, context);
      for (Operand& o : mixed->operands())
        if (o.role == Role::input) o.tensor->set_bytes((*plain)[o.name].bytes());
      mixed->replace(f, std::make_unique<Tensor>((*fp8)[f], 0, (*fp8)[f].shape(), (*fp8)[f].strides()));
      mixed->input(f + "_scale", kFp32, (*fp8)[f + "_scale"].shape(), fp8->values(f + "_scale"));
      ASSERT_EQ(plain->run(context), MHC_OK) << mhc_last_error();
      ASSERT_EQ(mixed->run(context), MHC_OK) << mhc_last_error();
      expect_same_outputs(*plain, *mixed);
    }
  }
}

}  // namespace
