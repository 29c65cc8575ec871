// SPDX-License-Identifier: Apache-2.0
// Once its workspace is reserved no operation allocates: every way to the heap is counted, of this and the library's threads.
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "call.h"

using namespace mhc_test;

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void count() {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
}

}  // namespace

// The C library's own, by the names that it keeps for those who put theirs in front; operator new comes here too.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}
void* calloc(size_t number, size_t bytes) {
  count();
  return __libc_calloc(number, bytes);
}
void* realloc(void* memory, size_t bytes) {
  count();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  count();
  *memory = __libc_memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
}

namespace {

int allocations_of(const std::function<void()>& body) {
  allocations = 0;
  counting = true;
  body();
  counting = false;
  return allocations;
}

// Else a count of none would prove nothing.
TEST(Allocation, is_seen) {
  Context context;
  EXPECT_GT(allocations_of([] { delete new std::string(100, 'x'); }), 0);
  EXPECT_GT(allocations_of([&] { mhc_context_reserve(context.get(), 1 << 20); }), 0) << "the library's are not counted";
}

class Allocation : public testing::TestWithParam<Variant> {};

TEST_P(Allocation, none_in_a_call) {
  Random random;
  Form form = GetParam().form;
  form.tokens = 40;
  auto call = GetParam().make(form, random);
  for (int32_t tier : tiers())
    for (int32_t threads : {1, 2}) {
      Context context(tier, threads);
      ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
      mhc_status status = MHC_OK;
      EXPECT_EQ(allocations_of([&] { status = call->invoke_again(context.get()); }), 0) << tier_name(tier) << ", " << threads << " threads";
      ASSERT_EQ(status, MHC_OK) << mhc_last_error();
    }
}

INSTANTIATE_TEST_SUITE_P(all, Allocation, testing::ValuesIn(variants()), [](const auto& info) { return info.param.name; });

}  // namespace
