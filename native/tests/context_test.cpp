// SPDX-License-Identifier: Apache-2.0
// Contexts: creation, information, workspace, errors, threads, and that nothing is left behind.
#include <cstring>
#include <thread>

#include "call.h"

using namespace mhc_test;

namespace {

// status, and a message that contains each word.
void expect_failure(mhc_status expected, mhc_status actual, const std::vector<std::string>& words) {
  EXPECT_EQ(expected, actual) << mhc_status_name(actual);
  for (const std::string& word : words)
    EXPECT_NE(std::string(mhc_last_error()).find(word), std::string::npos) << "no \"" << word << "\" in: " << mhc_last_error();
}

mhc_context_options options() {
  mhc_context_options o = {};
  o.struct_size = sizeof o;
  o.device = test_device();
  return o;
}

mhc_context_info info_of(const Context& context) {
  mhc_context_info info = {};
  info.struct_size = sizeof info;
  EXPECT_EQ(mhc_context_get_info(context.get(), &info), MHC_OK) << mhc_last_error();
  return info;
}

TEST(Library, says_its_version) {
  EXPECT_EQ(mhc_version(), std::to_string(MHC_VERSION_MAJOR) + "." + std::to_string(MHC_VERSION_MINOR) + "." +
                               std::to_string(MHC_VERSION_PATCH));
  EXPECT_EQ(mhc_abi_version(), MHC_ABI_VERSION);
}

TEST(Library, names_statuses_and_tiers) {
  EXPECT_STREQ(mhc_status_name(MHC_OK), "MHC_OK");
  EXPECT_STREQ(mhc_status_name(MHC_WORKSPACE_TOO_SMALL), "MHC_WORKSPACE_TOO_SMALL");
  EXPECT_STREQ(mhc_status_name(MHC_INTERNAL), "MHC_INTERNAL");
  EXPECT_STREQ(mhc_status_name(8), "MHC_STATUS_UNKNOWN");
  EXPECT_STREQ(mhc_status_name(-1), "MHC_STATUS_UNKNOWN");
  EXPECT_STREQ(mhc_cpu_tier_name(MHC_CPU_TIER_AVX512_BF16), "avx512_bf16");
  EXPECT_STREQ(mhc_cpu_tier_name(MHC_CPU_TIER_PLAIN), "plain");
  EXPECT_STREQ(mhc_cpu_tier_name(99), "unknown");
  EXPECT_STREQ(mhc_cpu_tier_name(-1), "unknown");
}

TEST(Library, counts_devices) {
  EXPECT_EQ(mhc_device_count(MHC_DEVICE_CPU), 1);
  EXPECT_EQ(mhc_device_count(77), 0);
}

TEST(Library, has_the_plain_and_the_counting_tier) {
  EXPECT_TRUE(mhc_cpu_tiers() >> MHC_CPU_TIER_PLAIN & 1);
  EXPECT_TRUE(mhc_cpu_tiers() >> MHC_CPU_TIER_COUNTING & 1);
  EXPECT_FALSE(mhc_cpu_tiers() >> MHC_CPU_TIER_AUTO & 1);
}

TEST(Context, auto_is_the_best_tier) {
  const mhc_context_info info = info_of(Context(MHC_CPU_TIER_AUTO, 0));
  EXPECT_EQ(info.cpu_tier, on_cuda() ? 0 : tiers().back());
  EXPECT_GE(info.threads, on_cuda() ? 0 : 1);
  EXPECT_GT(std::strlen(info.name), 0u);
  EXPECT_EQ(info.device.device_type, test_device().device_type);
  EXPECT_EQ(info.device.device_id, 0);
}

TEST(Context, has_what_was_asked_for) {
  for (int32_t tier : tiers())
    for (int32_t threads : {1, 3}) {
      const mhc_context_info info = info_of(Context(tier, threads));
      EXPECT_EQ(info.cpu_tier, tier == kCuda ? 0 : tier);
      EXPECT_EQ(info.threads, tier == kCuda ? 0 : threads);
    }
}

TEST(Context, workspace_grows_and_never_shrinks) {
  mhc_context_options o = options();
  o.workspace = 100000;
  mhc_context* context = nullptr;
  ASSERT_EQ(mhc_context_create(&o, &context), MHC_OK) << mhc_last_error();
  mhc_context_info info = {};
  info.struct_size = sizeof info;
  ASSERT_EQ(mhc_context_get_info(context, &info), MHC_OK);
  EXPECT_GE(info.workspace, 100000u);
  ASSERT_EQ(mhc_context_reserve(context, 1 << 20), MHC_OK);
  ASSERT_EQ(mhc_context_get_info(context, &info), MHC_OK);
  const size_t grown = info.workspace;
  EXPECT_GE(grown, 1u << 20);
  ASSERT_EQ(mhc_context_reserve(context, 10), MHC_OK);
  ASSERT_EQ(mhc_context_get_info(context, &info), MHC_OK);
  EXPECT_EQ(info.workspace, grown);
  EXPECT_GE(mhc_live_bytes(), (int64_t)grown);
  ASSERT_EQ(mhc_context_destroy(context), MHC_OK);
  EXPECT_EQ(mhc_live_bytes(), 0);
}

TEST(Context, leaves_nothing_behind) {
  EXPECT_EQ(mhc_live_bytes(), 0);
  for (int32_t tier : tiers()) {
    Context one(tier, 2), two(tier, 3);
    EXPECT_GT(mhc_live_bytes(), 0);
    mhc_context_reserve(one.get(), 12345);
  }
  EXPECT_EQ(mhc_live_bytes(), 0);
  EXPECT_EQ(mhc_context_destroy(nullptr), MHC_OK);
}

TEST(Context, refuses_bad_options_and_leaves_the_result_alone) {
  struct Row {
    const char* what;
    std::function<void(mhc_context_options&)> spoil;
    mhc_status status;
    std::vector<std::string> words;
  };
  const Row rows[] = {
      {"size", [](auto& o) { o.struct_size = 8; }, MHC_INVALID_ARGUMENT, {"options.struct_size", "8", std::to_string(sizeof(mhc_context_options))}},
      {"no device", [](auto& o) { o.device.device_type = 99; }, MHC_UNSUPPORTED, {"device_type", "99"}},
      {"device -1", [](auto& o) { o.device.device_id = -1; }, MHC_INVALID_ARGUMENT, {"device_id", "-1", "0"}},
      {"device 4096", [](auto& o) { o.device.device_id = 4096; }, MHC_INVALID_ARGUMENT, {"device_id", "4096", "0"}},
      {"second CPU", [](auto& o) { o.device = {MHC_DEVICE_CPU, 1}; }, MHC_INVALID_ARGUMENT, {"device_id", "1", "0"}},
      {"threads < 0", [](auto& o) { o.threads = -2; }, MHC_INVALID_ARGUMENT, {"options.threads", "-2", "1024"}},
      {"threads > 1024", [](auto& o) { o.threads = 1025; }, MHC_INVALID_ARGUMENT, {"options.threads", "1025", "1024"}},
      {"tier < 0", [](auto& o) { o.cpu_tier = -1; }, MHC_INVALID_ARGUMENT, {"options.cpu_tier", "-1"}},
      {"tier > last", [](auto& o) { o.cpu_tier = 7; }, MHC_INVALID_ARGUMENT, {"options.cpu_tier", "7"}},
      {"workspace", [](auto& o) { o.workspace = SIZE_MAX - 5; }, MHC_OUT_OF_MEMORY, {"options.workspace", std::to_string(SIZE_MAX - 5)}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    mhc_context_options o = options();
    row.spoil(o);
    mhc_context* const untouched = reinterpret_cast<mhc_context*>(0x1234);
    mhc_context* context = untouched;
    expect_failure(row.status, mhc_context_create(&o, &context), row.words);
    EXPECT_EQ(std::string(mhc_last_error()).rfind("mhc_context_create: ", 0), 0u) << mhc_last_error();
    EXPECT_EQ(context, untouched);
  }
  const mhc_context_options good = options();
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_create(&good, nullptr), {"mhc_context_create", "context", "NULL"});
  EXPECT_EQ(mhc_live_bytes(), 0);
}

// A tier that this CPU does not have, if there is one.
TEST(Context, refuses_a_tier_that_cannot_run_here) {
  for (int32_t tier = MHC_CPU_TIER_PLAIN; tier <= MHC_CPU_TIER_COUNTING; ++tier) {
    if (mhc_cpu_tiers() >> tier & 1) continue;
    mhc_context_options o = options();
    o.device = {MHC_DEVICE_CPU, 0};
    o.cpu_tier = tier;
    mhc_context* context = nullptr;
    expect_failure(MHC_UNSUPPORTED, mhc_context_create(&o, &context), {"options.cpu_tier", mhc_cpu_tier_name(tier)});
  }
}

TEST(Context, questions_name_what_is_wrong) {
  Context context, plain(MHC_CPU_TIER_PLAIN);  // which does not count, as the executor of the CUDA kernels does
  mhc_context_info info = {};
  mhc_traffic traffic = {};
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_info(nullptr, &info), {"mhc_context_get_info", "context", "NULL"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_info(context.get(), nullptr), {"mhc_context_get_info", "info", "NULL"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_info(context.get(), &info), {"info.struct_size", "0"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_reserve(nullptr, 5), {"mhc_context_reserve", "context", "NULL"});
  expect_failure(MHC_OUT_OF_MEMORY, mhc_context_reserve(context.get(), SIZE_MAX - 3), {"mhc_context_reserve", "bytes"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_traffic(nullptr, &traffic), {"mhc_context_get_traffic", "context"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_traffic(context.get(), nullptr), {"mhc_context_get_traffic", "traffic"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_get_traffic(context.get(), &traffic), {"traffic.struct_size", "0"});
  traffic.struct_size = sizeof traffic;
  expect_failure(MHC_UNSUPPORTED, mhc_context_get_traffic(plain.get(), &traffic), {"mhc_context_get_traffic", "COUNTING"});
}

TEST(Context, the_message_belongs_to_its_thread) {
  expect_failure(MHC_INVALID_ARGUMENT, mhc_context_reserve(nullptr, 5), {"mhc_context_reserve"});
  std::thread([] {
    EXPECT_STREQ(mhc_last_error(), "");
    mhc_context_get_info(nullptr, nullptr);
  }).join();
  EXPECT_NE(std::string(mhc_last_error()).find("mhc_context_reserve"), std::string::npos);
}

TEST(Config, init_and_mix_count) {
  mhc_config config = {};
  int64_t count = -1;
  expect_failure(MHC_INVALID_ARGUMENT, mhc_config_init(nullptr, 0, 4), {"mhc_config_init", "config", "NULL"});
  for (int32_t streams : {0, 17, -3})
    expect_failure(MHC_INVALID_ARGUMENT, mhc_config_init(&config, 0, streams), {"mhc_config_init", "streams", std::to_string(streams), "16"});
  for (int32_t p : {-1, 6})
    expect_failure(MHC_INVALID_ARGUMENT, mhc_config_init(&config, p, 4), {"mhc_config_init", "preset", std::to_string(p)});
  EXPECT_EQ(config.struct_size, 0u) << "a failed init wrote its config";

  std::memset(&config, -1, sizeof config);
  ASSERT_EQ(mhc_config_init(&config, MHC_PRESET_PAPER, 4), MHC_OK);
  EXPECT_EQ(config.struct_size, sizeof config);
  for (int32_t reserved : config.reserved) EXPECT_EQ(reserved, 0);
  ASSERT_EQ(mhc_config_mix_count(&config, &count), MHC_OK);
  EXPECT_EQ(count, 24);
  config.mode = MHC_MODE_MHC_LITE;
  ASSERT_EQ(mhc_config_mix_count(&config, &count), MHC_OK);
  EXPECT_EQ(count, 32);
  config.mode = MHC_MODE_RESIDUAL;
  ASSERT_EQ(mhc_config_mix_count(&config, &count), MHC_OK);
  EXPECT_EQ(count, 0);
  count = 77;
  config.mode = 9;
  expect_failure(MHC_INVALID_ARGUMENT, mhc_config_mix_count(&config, &count), {"mhc_config_mix_count", "config.mode", "9"});
  EXPECT_EQ(count, 77);
  config.mode = 0;
  config.struct_size = sizeof config - 1;
  expect_failure(MHC_INVALID_ARGUMENT, mhc_config_mix_count(&config, &count),
                 {"mhc_config_mix_count", "config.struct_size", std::to_string(sizeof config - 1), std::to_string(sizeof config)});
  EXPECT_EQ(count, 77);
  config.struct_size = sizeof config;
  expect_failure(MHC_INVALID_ARGUMENT, mhc_config_mix_count(&config, nullptr), {"mhc_config_mix_count", "mix_count", "NULL"});
  expect_failure(MHC_INVALID_ARGUMENT, mhc_config_mix_count(nullptr, &count), {"mhc_config_mix_count", "config", "NULL"});
}

// Different contexts work at once, and several callers of one wait for each other.
TEST(Context, serves_many_threads) {
  Context shared(MHC_CPU_TIER_AUTO, 2);
  Random random;
  Form form;
  form.tokens = 40;
  auto reference = make_post(form, random);
  ASSERT_EQ(reference->run(shared), MHC_OK) << mhc_last_error();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    auto call = std::shared_ptr<Call>(make_post(form, random));
    for (Operand& o : reference->operands())
      if (o.role == Role::input) (*call)[o.name].set_bytes(o.tensor->bytes());
    threads.emplace_back([&, call, t] {
      Context own(MHC_CPU_TIER_AUTO, 2);
      for (int i = 0; i < 50; ++i) {
        call->poison_outputs();
        ASSERT_EQ(call->run(t % 2 ? own : shared), MHC_OK) << mhc_last_error();
        ASSERT_TRUE(same_bits((*reference)["x_next"], (*call)["x_next"]));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
