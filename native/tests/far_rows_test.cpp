// SPDX-License-Identifier: Apache-2.0
// Tokens 2^32 elements apart: an offset that was ever kept in 32 bits would meet the first token again.
#include <sys/mman.h>

#include <cstring>
#include <new>

#include "call.h"

using namespace mhc_test;

namespace {

constexpr int64_t kStep = int64_t{1} << 32;

// A tensor's first two rows that far apart. Memory that is not touched is not there.
class FarRows {
 public:
  explicit FarRows(Tensor& tensor) : tensor_(tensor), row_((size_t)tensor.count() / 2 * tensor.element().bytes) {
    step_ = (size_t)kStep * tensor.element().bytes;
    void* memory = mmap(nullptr, step_ + row_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<uint8_t*>(memory);
    const std::vector<uint8_t> bytes = tensor.bytes();
    for (int r = 0; r < 2; ++r) std::memcpy(memory_ + (size_t)r * step_, &bytes[(size_t)r * row_], row_);
    tensor.get()->data = memory_;
    tensor.get()->strides[0] = kStep;
  }
  ~FarRows() {
    munmap(memory_, step_ + row_);
    tensor_.repair();
  }
  FarRows(const FarRows&) = delete;
  FarRows& operator=(const FarRows&) = delete;

  std::vector<uint8_t> bytes() const {
    std::vector<uint8_t> all(memory_, memory_ + row_);
    all.insert(all.end(), memory_ + step_, memory_ + step_ + row_);
    return all;
  }

 private:
  Tensor& tensor_;
  size_t row_, step_;
  uint8_t* memory_;
};

class Far : public testing::TestWithParam<Variant> {};

TEST_P(Far, rows_are_found) {
  Random random;
  Form form = GetParam().form;
  form.tokens = 2;
  auto call = GetParam().make(form, random);
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(tier_name(tier));
    Context context(tier, 2);
    ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
    std::vector<std::vector<uint8_t>> expected;
    for (Operand& o : call->operands()) expected.push_back(o.tensor->bytes());
    call->poison_outputs();
    std::vector<std::unique_ptr<FarRows>> far;
    for (Operand& o : call->operands())
      far.push_back(o.token_axis == 0 && o.tensor->shape().size() > 1 && o.tensor->shape()[0] == 2 ? std::make_unique<FarRows>(*o.tensor) : nullptr);
    ASSERT_EQ(call->invoke(context.get()), MHC_OK) << mhc_last_error();
    for (size_t i = 0; i < far.size(); ++i) {
      const Operand& o = call->operands()[i];
      EXPECT_TRUE((far[i] ? far[i]->bytes() : o.tensor->bytes()) == expected[i]) << o.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(all, Far, testing::ValuesIn(variants()), [](const auto& info) { return info.param.name; });

}  // namespace
