// SPDX-License-Identifier: Apache-2.0
// Where libmhc looks for the CUDA backend, and what it says when there is none. The library is opened once in a process, so
// each case has one of its own.
#include <cstdlib>
#include <cstring>

#include "support.h"

using namespace mhc_test;

namespace {

constexpr int kAsExpected = 42;

// Asks for a CUDA context with that library; ends the process.
[[noreturn]] void ask(const char* library, mhc_status expected, const std::vector<const char*>& words) {
  setenv("MHC_CUDA_LIBRARY", library, 1);
  mhc_context_options options = {};
  options.struct_size = sizeof options;
  options.device = {MHC_DEVICE_CUDA, 0};
  mhc_context* context = nullptr;
  const mhc_status status = mhc_context_create(&options, &context);
  bool good = status == expected && (context == nullptr) == (status != MHC_OK);
  for (const char* word : words) good = good && std::strstr(mhc_last_error(), word);
  if (!good) std::fprintf(stderr, "status %d: %s\n", status, mhc_last_error());
  mhc_context_destroy(context);
  std::exit(good ? kAsExpected : 1);
}

TEST(Plugin, a_missing_library_is_named_with_the_fix) {
  EXPECT_EXIT(ask("/nowhere/libmhc_cuda.so", MHC_LIBRARY_NOT_FOUND,
                  {"mhc_context_create", "/nowhere/libmhc_cuda.so", "MHC_CUDA_LIBRARY", "No such file", "Put libmhc_cuda.so"}),
              testing::ExitedWithCode(kAsExpected), "");
}

TEST(Plugin, a_foreign_library_is_refused) {
  EXPECT_EXIT(ask(MHC_LIBRARY, MHC_LIBRARY_NOT_FOUND, {MHC_LIBRARY, "is not mhc's CUDA library", "0.1.0"}),
              testing::ExitedWithCode(kAsExpected), "");
}

TEST(Plugin, no_library_means_no_device) {
  EXPECT_EXIT(
      {
        setenv("MHC_CUDA_LIBRARY", "/nowhere/libmhc_cuda.so", 1);
        std::exit(mhc_device_count(MHC_DEVICE_CUDA) == 0 ? kAsExpected : 1);
      },
      testing::ExitedWithCode(kAsExpected), "");
}

#ifdef MHC_CUDA_MODULE
// The real one: with a driver and a device there is a context, elsewhere the driver's reason.
TEST(Plugin, the_library_says_what_the_driver_says) {
  EXPECT_EXIT(
      {
        setenv("MHC_CUDA_LIBRARY", MHC_CUDA_MODULE, 1);
        if (mhc_device_count(MHC_DEVICE_CUDA) > 0) ask(MHC_CUDA_MODULE, MHC_OK, {});
        ask(MHC_CUDA_MODULE, MHC_UNSUPPORTED, {"CUDA device 0", "the CUDA driver said: cudaError"});
      },
      testing::ExitedWithCode(kAsExpected), "");
}
#endif

}  // namespace
