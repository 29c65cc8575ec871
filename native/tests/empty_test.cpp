// SPDX-License-Identifier: Apache-2.0
// No tokens is no error, however the maker of an empty tensor describes it; and shapes that cannot be are refused.
#include "call.h"

using namespace mhc_test;

namespace {

class Empty : public testing::TestWithParam<Variant> {};

// NumPy gives an empty array strides of 0, PyTorch no memory.
TEST_P(Empty, tensors_need_neither_memory_nor_strides) {
  Form form = GetParam().form;
  form.tokens = 0;
  Random random;
  Context context;
  auto call = GetParam().make(form, random);
  for (Operand& o : call->operands()) {
    mhc_tensor* t = o.tensor->get();
    if (std::find(t->shape, t->shape + t->ndim, 0) == t->shape + t->ndim) continue;
    t->data = nullptr;
    std::fill(t->strides, t->strides + t->ndim, 0);
  }
  EXPECT_EQ(call->run(context), MHC_OK) << mhc_last_error();
}

INSTANTIATE_TEST_SUITE_P(all, Empty, testing::ValuesIn(variants()), [](const auto& info) { return info.param.name; });

TEST(Shapes, too_large_for_any_memory_are_refused) {
  Random random;
  Context context;
  auto call = make_expand(Form{}, random);
  for (const char* name : {"embedding", "x"}) (*call)[name].get()->shape[0] = int64_t{1} << 40;
  (*call)["embedding"].get()->shape[1] = (*call)["x"].get()->shape[2] = int64_t{1} << 40;
  size_t bytes;
  EXPECT_EQ(call->workspace(context.get(), &bytes), MHC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(mhc_last_error()).find("shape is [1099511627776, "),
            std::string::npos) << mhc_last_error();
  EXPECT_NE(std::string(mhc_last_error()).find("expected at most 2^56 elements"), std::string::npos) << mhc_last_error();
}

}  // namespace
