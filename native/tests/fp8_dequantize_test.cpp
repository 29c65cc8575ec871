// SPDX-License-Identifier: Apache-2.0
// mhc_fp8_dequantize against the oracle, to the bit.
#include "call.h"

using namespace mhc_test;

namespace {

TEST(Fp8Dequantize, agrees_with_the_oracle) {
  Random random;
  for_each_tiling([&](const Form& form, const Context& context) {
    auto call = make_fp8_dequantize(form, random);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    const Array exact = oracle::fp8_dequantize((*call)["src"].bytes(), call->values("scale"), form.tokens, form.width, form.tile);
    EXPECT_TRUE(rounds_to((*call)["dst"], exact, absolute(exact), 1));
  });
}

// What was quantised comes back within half a place of E4M3 of the tile's scale.
TEST(Fp8Dequantize, undoes_quantize) {
  Random random;
  for_each_tiling([&](const Form& form, const Context& context) {
    auto down = make_fp8_quantize(form, random), up = make_fp8_dequantize(form, random);
    ASSERT_EQ(down->run(context), MHC_OK) << mhc_last_error();
    (*up)["src"].set_bytes((*down)["dst"].bytes());
    (*up)["scale"].set_bytes((*down)["scale"].bytes());
    ASSERT_EQ(up->run(context), MHC_OK) << mhc_last_error();
    const Array before = down->values("src");
    EXPECT_TRUE(is_near((*up)["dst"], before, 0x1p-4 + 0x1p-8, largest(down->values("scale")) * 0x1p-10 * 1.01));
  });
}

}  // namespace
