// SPDX-License-Identifier: Apache-2.0
// Rows that are larger than the caches are stored past them, on a path of its own: the same bits as from parts that are not.
#include "call.h"

using namespace mhc_test;

namespace {

constexpr int64_t kPart = 65, kParts = 4, kWidth = 4111;  // [T, 4, C]: 17 MB of 16-bit rows; a part is a quarter

// Tokens first ... first + kPart - 1 of all operands that have tokens; all of them again at the end.
class Part {
 public:
  Part(Call& call, int64_t first) : call_(call) {
    for (Operand& o : call.operands()) {
      if (o.token_axis < 0) continue;
      mhc_tensor* t = o.tensor->get();
      t->byte_offset += (uint64_t)(first * t->strides[o.token_axis]) * o.tensor->element().bytes;
      t->shape[o.token_axis] = kPart;
    }
  }
  ~Part() {
    for (Operand& o : call_.operands()) o.tensor->repair();
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

 private:
  Call& call_;
};

struct Case {
  std::string name;
  Maker make;
  int32_t kind = MHC_HEAD_MEAN;
};

class PastCaches : public testing::TestWithParam<Case> {};

TEST_P(PastCaches, has_the_bits_of_its_parts) {
  Random random;
  for (const Types& types : {Types{kBf16, kBf16}, Types{kFp32, kBf16}}) {
    Form form;
    form.types = types;
    form.kind = GetParam().kind;
    form.width = kWidth;
    form.tokens = kPart * kParts;
    form.layers = 2;
    auto call = GetParam().make(form, random);
    for (int32_t tier : tiers()) {
      SCOPED_TRACE(std::string(tier_name(tier)) + ", " + form.describe());
      Context context(tier, 2);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      std::vector<std::vector<uint8_t>> whole;
      for (Operand& o : call->operands()) whole.push_back(o.tensor->bytes());
      call->poison_outputs();
      for (int64_t part = 0; part < kParts; ++part) {
        const Part narrowed(*call, part * kPart);
        ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      }
      for (size_t i = 0; i < whole.size(); ++i) {
        const Operand& o = call->operands()[i];
        if (o.token_axis < 0) continue;  // sums over tokens
        EXPECT_TRUE(o.tensor->bytes() == whole[i]) << o.name;
        EXPECT_TRUE(o.tensor->padding_intact()) << o.name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(operations, PastCaches,
                         testing::Values(Case{"boundary", make_boundary}, Case{"boundary_backward", make_boundary_backward},
                                         Case{"recompute", make_recompute}, Case{"post", make_post},
                                         Case{"post_backward", make_post_backward}, Case{"pre_backward", make_pre_backward},
                                         Case{"expand", make_expand}, Case{"head_backward", make_head_backward}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
