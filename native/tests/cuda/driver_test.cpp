// SPDX-License-Identifier: Apache-2.0
// What is said, and what helps, where there is no CUDA device to be had; on the executor, which can be told what is wrong.
#include <cstdlib>

#include "call.h"

using namespace mhc_test;

namespace {

// What is wrong with the executor while this lives.
class Fault {
 public:
  explicit Fault(const char* what) { setenv("MHC_EXECUTOR_FAULT", what, 1); }
  ~Fault() { unsetenv("MHC_EXECUTOR_FAULT"); }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
};

void expect_failure(mhc_status expected, mhc_status actual, const std::vector<std::string>& words) {
  EXPECT_EQ(expected, actual) << mhc_status_name(actual);
  for (const std::string& word : words)
    EXPECT_NE(std::string(mhc_last_error()).find(word), std::string::npos) << "no \"" << word << "\" in: " << mhc_last_error();
}

struct Row {
  const char* fault;
  int32_t device;
  mhc_status status;
  int32_t devices;  // that are counted
  std::vector<std::string> words;
};

TEST(Driver, says_what_is_missing_and_what_helps) {
  const Row rows[] = {
      {"no_driver", 0, MHC_UNSUPPORTED, 0, {"CUDA device 0", "no NVIDIA driver", "cudaErrorInsufficientDriver", "Install one for CUDA 13.0"}},
      {"old_driver", 2, MHC_UNSUPPORTED, 0, {"CUDA device 2", "driver is too old, for CUDA 12.4", "CUDA 13.0 or later", "update the driver"}},
      {"no_device", 0, MHC_UNSUPPORTED, 0, {"CUDA device 0", "shows no device", "cudaErrorNoDevice", "nvidia-smi -L", "CUDA_VISIBLE_DEVICES"}},
      {"old_device", 0, MHC_UNSUPPORTED, 1, {"CUDA device 0", "compute capability 7.0", "expected 8.0 or later", "choose"}},
      {"none", 1, MHC_INVALID_ARGUMENT, 1, {"options.device.device_id is 1", "expected 0 to 0"}},
      {"broken", 0, MHC_DEVICE_ERROR, 1, {"CUDA device 0", "cudaErrorIllegalAddress", "only a new process gets another"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.fault);
    Fault fault(row.fault);
    mhc_context_options options = {};
    options.struct_size = sizeof options;
    options.device = {MHC_DEVICE_CUDA, row.device};
    mhc_context* const untouched = reinterpret_cast<mhc_context*>(0x1234);
    mhc_context* context = untouched;
    std::vector<std::string> words = row.words;
    words.push_back("mhc_context_create: ");
    expect_failure(row.status, mhc_context_create(&options, &context), words);
    EXPECT_EQ(context, untouched);
    EXPECT_EQ(mhc_device_count(MHC_DEVICE_CUDA), row.devices);
    EXPECT_EQ(mhc_live_bytes(), 0);
  }
}

// A device that breaks later: each call says so, and that it is not this call's doing.
TEST(Driver, says_when_an_earlier_kernel_broke_the_device) {
  Random random;
  Context context;
  auto call = make_post({}, random);
  ASSERT_EQ(call->run(context), MHC_OK) << mhc_last_error();
  call->poison_outputs();
  Fault fault("broken");
  const std::vector<std::string> words = {"CUDA device 0", "cudaErrorIllegalAddress", "an earlier kernel", "only a new process gets another"};
  for (int i = 0; i < 2; ++i) expect_failure(MHC_DEVICE_ERROR, call->invoke(context.get()), words);
  EXPECT_EQ(std::string(mhc_last_error()).rfind("mhc_post: ", 0), 0u) << mhc_last_error();
  EXPECT_TRUE(call->outputs_untouched());
  expect_failure(MHC_DEVICE_ERROR, mhc_context_reserve(context.get(), 1 << 20), words);
  EXPECT_EQ(std::string(mhc_last_error()).rfind("mhc_context_reserve: ", 0), 0u) << mhc_last_error();
}

// Work that waits for a message may be queued on it, and graphs may hold it.
TEST(Driver, what_a_workspace_outgrows_stays_until_the_context_ends) {
  {
    Context context;
    const int64_t before = mhc_live_bytes();
    ASSERT_EQ(mhc_context_reserve(context.get(), 1000), MHC_OK) << mhc_last_error();
    ASSERT_EQ(mhc_context_reserve(context.get(), 5000), MHC_OK) << mhc_last_error();
    EXPECT_EQ(mhc_live_bytes() - before, 6000);
    mhc_context_info info = {};
    info.struct_size = sizeof info;
    ASSERT_EQ(mhc_context_get_info(context.get(), &info), MHC_OK);
    EXPECT_EQ(info.workspace, 5000u);
  }
  EXPECT_EQ(mhc_live_bytes(), 0);
}

}  // namespace
