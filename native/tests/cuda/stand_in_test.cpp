// SPDX-License-Identifier: Apache-2.0
// The stand-in for the CUDA runtime: that mistakes which a GPU would punish show on it too.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

namespace {

// Loaded anew in each test's process, with its seed.
class Runtime {
 public:
  explicit Runtime(const char* seed) {
    seed ? setenv("MHC_STAND_IN_SEED", seed, 1) : unsetenv("MHC_STAND_IN_SEED");
    library_ = dlopen(MHC_STAND_IN_CUDART, RTLD_NOW);
  }
  template <class... A>
  int call(const char* name, A... arguments) const {
    return reinterpret_cast<int (*)(A...)>(dlsym(library_, name))(arguments...);
  }
  int* allocate(size_t count) const {
    void* memory = nullptr;
    EXPECT_EQ(call("cudaMalloc", &memory, count * sizeof(int)), 0);
    return static_cast<int*>(memory);
  }
  void* stream(int priority = 0) const {
    void* stream = nullptr;
    EXPECT_EQ(call("cudaStreamCreateWithPriority", &stream, 1u, priority), 0);
    return stream;
  }
  int copy(void* to, const void* from, void* stream) const { return call("cudaMemcpyAsync", to, from, sizeof(int), 4, stream); }
  int launch(void* stream, std::function<void()> kernel) const {
    return call("mhc_stand_in_launch", stream, static_cast<const std::function<void()>*>(&kernel));
  }

 private:
  void* library_;
};

// Writes 1 and then 2 to device memory in one stream, and reads it in another. What is read; synchronised: with an event between.
int read_in_another_stream(const char* seed, bool synchronised) {
  const Runtime runtime(seed);
  int* memory = runtime.allocate(1);
  void *writer = runtime.stream(), *reader = runtime.stream(), *event = nullptr;
  const int one = 1, two = 2;
  int result = 0;
  runtime.copy(memory, &one, writer);
  runtime.call("cudaStreamSynchronize", writer);
  runtime.copy(memory, &two, writer);
  if (synchronised) {
    runtime.call("cudaEventCreateWithFlags", &event, 2u);
    runtime.call("cudaEventRecord", event, writer);
    runtime.call("cudaStreamWaitEvent", reader, event, 0u);
    runtime.call("cudaEventDestroy", event);
  }
  runtime.copy(&result, memory, reader);
  runtime.call("cudaStreamSynchronize", reader);
  return result;
}

// How many of twenty seeds read what was written last; a process each, since a seed is for a process.
int right(bool synchronised) {
  int right = 0;
  for (int seed = 1; seed <= 20; ++seed) {
    const std::string text = std::to_string(seed);
    const std::string command =
        std::string("MHC_STAND_IN_CASE=") + (synchronised ? "1" : "0") + " MHC_STAND_IN_CASE_SEED=" + text + " /proc/" +
        std::to_string(getpid()) + "/exe";
    right += std::system(command.c_str()) == 0;
  }
  return right;
}

TEST(StandIn, a_stream_that_does_not_wait_may_read_what_was) {
  const int without = right(false);
  EXPECT_GT(without, 0);
  EXPECT_LT(without, 20);
  EXPECT_EQ(right(true), 20);
}

TEST(StandIn, work_of_a_high_priority_comes_first) {
  const Runtime runtime(nullptr);
  void *low = runtime.stream(), *high = runtime.stream(-5);
  std::string order;
  runtime.call("mhc_stand_in_hold", 1);
  runtime.call("mhc_stand_in_trace", 1);
  for (int i = 0; i < 5; ++i) runtime.launch(low, [&order] { order += 'l'; });
  for (int i = 0; i < 3; ++i) runtime.launch(high, [&order] { order += 'h'; });
  EXPECT_EQ(order, "") << "held";
  runtime.call("mhc_stand_in_hold", 0);
  runtime.call("cudaStreamSynchronize", low);
  EXPECT_EQ(order, "hhhlllll");
  char traced[200];
  runtime.call("mhc_stand_in_traced", static_cast<char*>(traced), sizeof traced);
  EXPECT_EQ(std::string(traced).substr(0, 22), "-5 kernel\n-5 kernel\n-5");
}

// As the runtime has it: who changes page-locked memory has to wait, others need not.
TEST(StandIn, memory_that_is_not_page_locked_is_copied_away_at_once) {
  const Runtime runtime(nullptr);
  void *stream = runtime.stream(), *locked = nullptr;
  ASSERT_EQ(runtime.call("cudaHostAlloc", &locked, sizeof(int), 1u), 0);
  int pageable = 1, *both = runtime.allocate(2);
  *static_cast<int*>(locked) = 1;
  runtime.call("mhc_stand_in_hold", 1);
  runtime.copy(both, &pageable, stream);
  runtime.copy(both + 1, locked, stream);
  pageable = *static_cast<int*>(locked) = 2;
  runtime.call("mhc_stand_in_hold", 0);
  int result[2] = {};
  runtime.copy(&result[0], both, stream);
  runtime.copy(&result[1], both + 1, stream);
  runtime.call("cudaStreamSynchronize", stream);
  EXPECT_EQ(result[0], 1);
  EXPECT_EQ(result[1], 2);
  runtime.call("cudaFreeHost", locked);
}

TEST(StandIn, the_host_cannot_touch_device_memory) {
  EXPECT_DEATH(
      {
        const Runtime runtime(nullptr);
        *static_cast<volatile int*>(runtime.allocate(1)) = 1;
      },
      "");
}

TEST(StandIn, a_kernel_that_writes_behind_a_block_is_found_when_it_is_freed) {
  EXPECT_DEATH(
      {
        const Runtime runtime(nullptr);
        int* memory = runtime.allocate(3);
        runtime.launch(nullptr, [memory] { memory[3] = 1; });
        runtime.call("cudaFree", static_cast<void*>(memory));
      },
      "written 0 bytes behind its end");
}

TEST(StandIn, copies_outside_a_block_are_refused) {
  const Runtime runtime(nullptr);
  int *memory = runtime.allocate(1), value = 0;
  EXPECT_EQ(runtime.copy(memory + 1, &value, nullptr), 1);
  EXPECT_EQ(runtime.call("cudaFree", static_cast<void*>(memory)), 0);
  EXPECT_EQ(runtime.copy(memory, &value, nullptr), 1) << "freed";
  EXPECT_EQ(runtime.call("cudaFree", static_cast<void*>(memory)), 1) << "freed twice";
}

TEST(StandIn, what_is_captured_runs_at_each_launch) {
  const Runtime runtime(nullptr);
  void *stream = runtime.stream(), *graph = nullptr, *executable = nullptr;
  int runs = 0;
  ASSERT_EQ(runtime.call("cudaStreamBeginCapture", stream, 1), 0);
  runtime.launch(stream, [&runs] { ++runs; });
  ASSERT_EQ(runtime.call("cudaStreamEndCapture", stream, &graph), 0);
  EXPECT_EQ(runs, 0);
  ASSERT_EQ(runtime.call("cudaGraphInstantiate", &executable, graph, 0ull), 0);
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(runtime.call("cudaGraphLaunch", executable, stream), 0);
    EXPECT_EQ(runs, i);
  }
  ASSERT_EQ(runtime.call("cudaStreamBeginCapture", stream, 1), 0);
  EXPECT_EQ(runtime.call("cudaStreamSynchronize", stream), 900);
  EXPECT_EQ(runtime.call("cudaStreamEndCapture", stream, &graph), 901);
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* which = std::getenv("MHC_STAND_IN_CASE")) {
    return read_in_another_stream(std::getenv("MHC_STAND_IN_CASE_SEED"), *which == '1') == 2 ? 0 : 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
