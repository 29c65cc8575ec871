// SPDX-License-Identifier: Apache-2.0
// Operations whose sums over tokens, too, do not depend on the device: to the bit the same on a small one and on a large
// one, with and without room on chip.
#include "call.h"

using namespace mhc_test;

namespace {

struct Case {
  const char* name;
  Maker make;
  Form form;
  int shared_bytes = 6 << 10;
};
void PrintTo(const Case& c, std::ostream* stream) { *stream << c.name; }

Form form_of(int64_t tokens, int32_t streams, int64_t width) {
  Form form;
  form.tokens = tokens;
  form.streams = streams;
  form.width = width;
  form.norm_weight = true;
  return form;
}

Form with_types(Form form, const Types& types) {
  form.types = types;
  return form;
}

class SmallDevice : public testing::TestWithParam<Case> {};

TEST_P(SmallDevice, gives_the_same_bits) {
  Random random;
  auto call = GetParam().make(GetParam().form, random);
  std::vector<std::vector<uint8_t>> expected;
  ASSERT_EQ(call->run(Context(kCuda)), MHC_OK) << mhc_last_error();
  for (Operand& o : call->operands()) expected.push_back(o.tensor->bytes());
  for (int multiprocessors : {1, 11}) {
    call->poison_outputs();
    const Executor executor(multiprocessors, GetParam().shared_bytes);
    ASSERT_EQ(call->run(Context(kCuda)), MHC_OK) << mhc_last_error();
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(call->operands()[i].tensor->bytes(), expected[i]) << call->operands()[i].name << ", " << multiprocessors << " multiprocessors";
  }
}

INSTANTIATE_TEST_SUITE_P(all, SmallDevice,
                         testing::Values(Case{"sinkhorn_20", make_sinkhorn, form_of(3, 20, 1)},
                                         Case{"sinkhorn_150", make_sinkhorn, form_of(2, 150, 1)},
                                         Case{"sinkhorn_backward_20", make_sinkhorn_backward, form_of(3, 20, 1)},
                                         Case{"sinkhorn_backward_150", make_sinkhorn_backward, form_of(1, 150, 1)},
                                         Case{"head", make_head, form_of(37, 4, 600)},
                                         Case{"head_any_streams", make_head, form_of(5, 7, 300)},
                                         Case{"head_backward", make_head_backward, form_of(37, 4, 600), 20 << 10},
                                         Case{"recompute", make_recompute, with_types(form_of(101, 4, 250), {kBf16, kBf16}), 227 << 10},
                                         Case{"rmsnorm_backward", make_rmsnorm_backward, form_of(37, 4, 900)}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
