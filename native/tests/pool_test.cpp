// SPDX-License-Identifier: Apache-2.0
// The pool calls a task once for each index, whether its workers are still awake from the last call or sleep.
#include "cpu/pool.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"

using mhc::cpu::Pool;

namespace {

struct Calls {
  std::vector<std::atomic<int>> count;
  std::vector<std::atomic<int>> running;  // of each worker
  std::atomic<bool> alone{true};

  Calls(int64_t indices, int threads) : count(static_cast<size_t>(indices)), running(static_cast<size_t>(threads)) {}

  void operator()(int worker, int64_t index) {
    if (++running[static_cast<size_t>(worker)] != 1) alone = false;
    ++count[static_cast<size_t>(index)];
    --running[static_cast<size_t>(worker)];
  }
};

TEST(Pool, calls_once_for_each_index_awake_or_asleep) {
  mhc_test::Random random;
  for (int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    for (int round = 0; round < 300; ++round) {
      const int64_t indices = random.integer(0, 40);
      Calls calls(indices, threads);
      pool.parallel(indices, [&](int worker, int64_t index) { calls(worker, index); });
      EXPECT_TRUE(calls.alone) << "one worker ran two tasks at a time";
      for (const auto& count : calls.count) ASSERT_EQ(count, 1);
      if (round % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random.integer(0, 200)));
    }
  }
}

TEST(Pool, ends_whatever_its_workers_do) {
  for (int round = 0; round < 200; ++round) {
    Pool pool(1 + round % 5);
    std::atomic<int> sum{0};
    if (round % 2) pool.parallel(7, [&](int, int64_t index) { sum += static_cast<int>(index); });
    EXPECT_EQ(sum, round % 2 ? 21 : 0);
  }
}

// What a worker prepares for the next index is its own: a run of them, in order, until it helps the others.
TEST(Pool, gives_a_worker_a_run_of_indices_in_order) {
  constexpr int kThreads = 4;
  constexpr int64_t kIndices = 64;
  Pool pool(kThreads);
  std::vector<std::vector<int64_t>> taken(kThreads);
  std::atomic<int> begun{0};
  pool.parallel(kIndices, [&](int worker, int64_t index) {
    std::vector<int64_t>& mine = taken[static_cast<size_t>(worker)];
    if (mine.empty()) ++begun;
    mine.push_back(index);
    while (begun < kThreads) std::this_thread::yield();  // so that nobody is late for its own run
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  });
  for (int64_t worker = 0; worker < kThreads; ++worker) {
    const std::vector<int64_t>& mine = taken[static_cast<size_t>(worker)];
    ASSERT_FALSE(mine.empty());
    EXPECT_EQ(mine[0], worker * (kIndices / kThreads));
    bool helps = false;
    for (size_t k = 0; k < mine.size(); ++k) {
      const bool own = mine[k] / (kIndices / kThreads) == worker;
      EXPECT_FALSE(own && helps) << "worker " << worker << " helped others before its own run was done";
      if (own && k > 0) {
        EXPECT_GT(mine[k], mine[k - 1]);
      }
      helps = !own;
    }
  }
}

}  // namespace
