// SPDX-License-Identifier: Apache-2.0
// mhc_fp8_quantize against the oracle, to the bit.
#include <cmath>

#include "call.h"

using namespace mhc_test;

namespace {

void check_quantized(Call& c, const Form& f) {
  const auto exact = oracle::fp8_quantize(c.values("src"), f.tokens, f.width, f.tile, f.rounding, *c.amax_floor);
  EXPECT_TRUE(c.values("scale") == exact.scale);
  const std::vector<uint8_t> dst = c["dst"].bytes();
  for (size_t i = 0; i < dst.size(); ++i)
    ASSERT_EQ(dst[i], exact.dst[i]) << "of " << c.values("src")[i] << " at " << i / f.width << ", " << i % f.width;
}

TEST(Fp8Quantize, agrees_with_the_oracle) {
  Random random;
  for_each_tiling([&](const Form& form, const Context& context) {
    auto call = make_fp8_quantize(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check_quantized(*call, form);
  });
}

// Magnitudes from far below the floor to the largest that a type holds, in one tensor.
TEST(Fp8Quantize, takes_any_magnitude) {
  Random random;
  for_each_tiling([&](const Form& form, const Context& context) {
    auto call = make_fp8_quantize(form, random);
    Array values = call->values("src");
    for (double& v : values) v *= std::exp2((double)random.integer(-40, form.types.layer == kFp16 ? 12 : 60));
    (*call)["src"].set(values);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    check_quantized(*call, form);
  });
}

// Every value that E4M3 holds, and what lies halfway between two of them, with a scale of 1.
TEST(Fp8Quantize, rounds_ties_to_even) {
  Random random;
  Array values = {448};
  for (uint8_t bits = 0; bits < 126; ++bits) {
    const double low = oracle::e4m3_value(bits), high = oracle::e4m3_value(bits + 1);
    for (double v : {low, (low + high) / 2, -(low + high) / 2, std::nextafterf((float)((low + high) / 2), 0.0f) + 0.0}) values.push_back(v);
  }
  for (int32_t tier : tiers()) {
    Context context(tier);
    Form form;
    form.tokens = ((int64_t)values.size() + 127) / 128;
    form.width = 128;
    Array padded = values;
    padded.resize(form.tokens * form.width, 448.0);
    for (int64_t row = 0; row < form.tokens; ++row) padded[row * form.width] = 448;
    auto call = make_fp8_quantize(form, random);
    (*call)["src"].set(padded);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_EQ(call->values("scale"), Array(form.tokens, 1.0));
    check_quantized(*call, form);
  }
}

TEST(Fp8Quantize, has_a_floor_of_ones_own) {
  Random random;
  for (int32_t tier : tiers())
    for (float floor : {1e-10f, 0.5f, 100.0f}) {
      Context context(tier);
      Form form;
      form.width = 200;
      auto call = make_fp8_quantize(form, random);
      *call->amax_floor = floor;
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check_quantized(*call, form);
    }
}

// Scales stored column by column, as GEMMs want them.
TEST(Fp8Quantize, stores_scales_with_any_strides) {
  Random random;
  for (int32_t tier : tiers())
    for (int32_t tile : {MHC_FP8_TILE_1X128, MHC_FP8_TILE_128X128}) {
      Context context(tier);
      Form form;
      form.tokens = 130;
      form.width = 300;
      form.tile = tile;
      auto call = make_fp8_quantize(form, random);
      const std::vector<int64_t> shape = (*call)["scale"].shape();
      call->replace("scale", std::make_unique<Tensor>(kFp32, shape, std::vector<int64_t>{1, shape[0] + 3}));
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      check_quantized(*call, form);
      EXPECT_TRUE(call->padding_intact());
    }
}

TEST(Fp8Quantize, a_nan_stays_one) {
  Random random;
  for (int32_t tier : tiers()) {
    Context context(tier);
    Form form;
    form.width = 40;
    auto call = make_fp8_quantize(form, random);
    Array values = call->values("src");
    values[43] = NAN;
    (*call)["src"].set(values);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    EXPECT_TRUE(std::isnan(call->values("dst")[43])) << tier_name(tier);
  }
}

struct Tiny {
  double amax;
  float floor;
  double scale, largest;  // expected, largest being what becomes of amax
};

// Scales end at 2^-126, the smallest normal number; the default floor is 1e-4.
TEST(Fp8Quantize, takes_tiny_tiles) {
  Random random;
  for (const Tiny& tiny : {Tiny{0, 0, (double)(1e-4f / 448), 0}, Tiny{0x1p-120, 0x1p-149f, 0x1p-126, 64}, Tiny{0x1p-149, 0x1p-149f, 0x1p-126, 0},
                           Tiny{0x1p-130, 0x1p-149f, 0x1p-126, 0x1p-4}, Tiny{7 * 0x1p-20, 0x1p-149f, 0x1p-26, 448}})
    for (int32_t tier : tiers())
      for (int32_t tile : {MHC_FP8_TILE_1X128, MHC_FP8_TILE_128X128})
        for (int32_t rounding : {MHC_FP8_SCALE_EXACT, MHC_FP8_SCALE_POWER_OF_TWO}) {
          if (tiny.amax == 0 && rounding == MHC_FP8_SCALE_POWER_OF_TWO) continue;  // whose scale is another
          SCOPED_TRACE(tier_name(tier) + " amax " + std::to_string(std::log2(tiny.amax)));
          Context context(tier);
          Form form;
          form.tile = tile;
          form.rounding = rounding;
          auto call = make_fp8_quantize(form, random);
          *call->amax_floor = tiny.floor;
          Array values(form.tokens * form.width);
          for (int64_t row = 0; row < form.tokens; ++row) values[row * form.width + 3 * row] = row % 2 ? -tiny.amax : tiny.amax;
          (*call)["src"].set(values);
          ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
          for (double scale : call->values("scale")) EXPECT_EQ(scale, tiny.scale);
          const Array dst = call->values("dst");
          for (size_t i = 0; i < dst.size(); ++i) EXPECT_EQ(std::fabs(dst[i]), values[i] == 0 ? 0 : tiny.largest) << i;
        }
}

// An infinity becomes a NaN, of one bit pattern, and the rest of its tile is as without it.
TEST(Fp8Quantize, infinities_do_not_count) {
  Random random;
  for (const Element& element : {kFp32, kBf16, kFp16})
    for (int32_t tier : tiers())
      for (int32_t tile : {MHC_FP8_TILE_1X128, MHC_FP8_TILE_128X128}) {
        SCOPED_TRACE(tier_name(tier) + " " + element.name);
        Context context(tier);
        Form form;
        form.tile = tile;
        form.width = 130;
        form.types = {element, element};
        auto call = make_fp8_quantize(form, random);
        Array values(form.tokens * form.width, 448.0);
        values[1] = INFINITY;
        values[5] = -INFINITY;
        values[129] = -INFINITY;
        (*call)["src"].set(values);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
        for (double scale : call->values("scale")) EXPECT_EQ(scale, 1.0);
        const std::vector<uint8_t> dst = (*call)["dst"].bytes();
        for (size_t i = 0; i < dst.size(); ++i) EXPECT_EQ(dst[i], i == 1 || i == 5 || i == 129 ? 0x7f : 0x7e) << i;
      }
}

}  // namespace
