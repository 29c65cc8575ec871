// SPDX-License-Identifier: Apache-2.0
// The executor itself: what is right on it, and that planted mistakes show.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "../support.h"
#include "cuda/kernels.h"
#include "cuda/device.h"

namespace mhc::cuda {
void pre_backward_without_barrier(const PreBackwardProblem& problem, Job& job);
}  // namespace mhc::cuda

using namespace mhc::cuda;

namespace {

constexpr int kThreads = 128;

void run(int64_t blocks, size_t shared, bool cooperative, const std::function<void()>& body) {
  mhc::executor::run({blocks, kThreads, shared, cooperative}, body);
}

// Each block's sum of 128 numbers by way of shared memory; without the barriers a thread may add what is not there yet.
void sum_kernel(const std::vector<float>& in, std::vector<float>& out, bool barriers) {
  float* parts = reinterpret_cast<float*>(shared_memory());
  const int t = thread_index();
  parts[t] = in[static_cast<size_t>(block_index() * kThreads + t)];
  if (barriers) sync_block();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) parts[t] += parts[t + half];
    barriers ? sync_block() : mhc::cuda::pause();
  }
  if (t == 0) out[static_cast<size_t>(block_index())] = parts[0];
}

bool sums_are_right(uint64_t seed, bool barriers) {
  mhc::executor::set_seed(seed);
  std::vector<float> in(3 * kThreads), out(3);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 17);
  run(3, kThreads * sizeof(float), false, [&] { sum_kernel(in, out, barriers); });
  for (size_t b = 0; b < 3; ++b) {
    float expected = 0;
    for (size_t i = 0; i < kThreads; ++i) expected += in[b * kThreads + i];
    if (out[b] != expected) return false;
  }
  return true;
}

TEST(Executor, barriers_order_what_threads_share) {
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_TRUE(sums_are_right(seed, true)) << seed;
}

TEST(Executor, a_missing_barrier_shows) {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) wrong += !sums_are_right(seed, false);
  EXPECT_GT(wrong, 10);
}

TEST(Executor, an_access_out_of_bounds_ends_the_program) {
  mhc_test::GuardedMemory memory(kThreads * sizeof(float));
  float* data = reinterpret_cast<float*>(memory.data());
  run(1, 0, false, [&] { store1(data + thread_index(), 1.0f); });
  EXPECT_DEATH(run(1, 0, false, [&] { store1(data + thread_index() + 1, 1.0f); }), "");
}

// Whole pages and less, and right behind the end; where that is within 16 bytes of it, it takes AddressSanitizer to see it.
TEST(Executor, an_access_beyond_shared_memory_ends_the_program) {
  std::vector<size_t> sizes = {4, kThreads, 1024, 5000};
#if defined(__SANITIZE_ADDRESS__)
  for (size_t odd : {1, 5, 1023}) sizes.push_back(odd);
#endif
  for (const size_t floats : sizes) {
    const size_t bytes = floats * sizeof(float);
    auto write = [&](size_t at) {
      run(2, bytes, false, [&] {
        if (thread_index() == 7) reinterpret_cast<volatile float*>(shared_memory())[at] = 1.0f;
      });
    };
    write(0);
    write(floats - 1);
    EXPECT_DEATH(write(floats), "") << floats;
    EXPECT_DEATH(write(floats + 3), "") << floats;
  }
}

mhc::View view_of(std::vector<float>& values, const std::vector<int64_t>& shape) {
  mhc::View view;
  view.data = reinterpret_cast<char*>(values.data());
  view.rank = static_cast<int>(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
    view.shape[i] = shape[i];
    view.stride[i] = stride;
  }
  view.given = true;
  return view;
}

// A kernel of the library, as it is and without one of its barriers: several tokens to a block.
TEST(Executor, a_barrier_missing_in_a_kernel_shows) {
  mhc_test::Random random;
  const int64_t T = 24, n = 4, C = 1024;  // sums of four warps
  auto normals = [&](int64_t count) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(random.normal()));
    return values;
  };
  std::vector<float> x = normals(T * n * C), pre_mix = normals(T * n), d_h = normals(T * C), d_pre_mix(T * n), expected;
  mhc::PreBackwardProblem problem{};
  problem.sizes = {T, static_cast<int>(n), C, 0};
  problem.x = view_of(x, {T, n, C});
  problem.pre_mix = view_of(pre_mix, {T, n});
  problem.d_h = view_of(d_h, {T, C});
  problem.d_pre_mix = view_of(d_pre_mix, {T, n});
  DeviceProperties device{};
  device.multiprocessors = 1;
  auto result_of = [&](void (*operation)(const mhc::PreBackwardProblem&, Job&), uint64_t seed) {
    mhc::executor::set_seed(seed);
    Job job{nullptr, device, nullptr, nullptr};
    operation(problem, job);
    EXPECT_EQ(job.error, nullptr);
    return d_pre_mix;
  };
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<float> right = result_of(pre_backward, 1000 * seed);
    if (seed == 1) expected = right;
    EXPECT_EQ(right, expected) << seed;
    wrong += result_of(pre_backward_without_barrier, 1000 * seed) != expected;
  }
  EXPECT_GE(wrong, 4);  // of the ten in which some warps are preferred
}

TEST(Executor, an_access_out_of_line_ends_the_program) {
  alignas(16) char data[64] = {};
  EXPECT_DEATH(run(1, 0, false, [&] { load16(data + 8); }), "");
}

TEST(Executor, a_barrier_that_not_all_reach_ends_the_program) {
  EXPECT_DEATH(run(1, 0, false,
                   [&] {
                     if (thread_index() > 0) sync_block();
                   }),
               "barriers");
}

TEST(Executor, named_barriers_count_their_own_threads) {
  std::vector<int> seen(kThreads);
  run(1, 2 * sizeof(int), false, [&] {
    int* flags = reinterpret_cast<int*>(shared_memory());
    const int half = thread_index() / 64;
    if (thread_index() % 64 == 5) flags[half] = 7 + half;
    sync_threads(1 + half, 64);
    seen[static_cast<size_t>(thread_index())] = flags[half];
  });
  for (int t = 0; t < kThreads; ++t) EXPECT_EQ(seen[static_cast<size_t>(t)], 7 + t / 64);
}

TEST(Executor, shuffles_move_between_lanes) {
  std::vector<float> xored(kThreads), taken(kThreads);
  run(1, 0, false, [&] {
    const int t = thread_index();
    xored[static_cast<size_t>(t)] = shuffle_xor(static_cast<float>(t), 5);
    taken[static_cast<size_t>(t)] = shuffle(static_cast<float>(t), 3);
  });
  for (int t = 0; t < kThreads; ++t) {
    EXPECT_EQ(xored[static_cast<size_t>(t)], static_cast<float>(t ^ 5));
    EXPECT_EQ(taken[static_cast<size_t>(t)], static_cast<float>(t / 32 * 32 + 3));
  }
}

// A copy is there after bulk_wait, and for some seed not before it.
TEST(Executor, a_bulk_copy_takes_its_time) {
  int early = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    mhc::executor::set_seed(seed);
    alignas(16) float from[kThreads];
    for (int i = 0; i < kThreads; ++i) from[i] = static_cast<float>(i + 1);
    std::vector<float> before(kThreads), after(kThreads);
    run(1, sizeof from + sizeof(BulkBarrier), false, [&] {
      float* to = reinterpret_cast<float*>(shared_memory());
      auto* barrier = reinterpret_cast<BulkBarrier*>(to + kThreads);
      const int t = thread_index();
      if (t == 0) {
        bulk_start(barrier, sizeof from);
        bulk_copy(to, from, sizeof from, barrier);
      }
      sync_block();
      before[static_cast<size_t>(t)] = to[t];
      bulk_wait(barrier, 0);
      after[static_cast<size_t>(t)] = to[t];
    });
    for (int i = 0; i < kThreads; ++i) {
      early += before[static_cast<size_t>(i)] != from[i];
      ASSERT_EQ(after[static_cast<size_t>(i)], from[i]);
    }
  }
  EXPECT_GT(early, 0);
}

// Who arrives goes on at once; who waits sees what was done before all arrivals.
TEST(Executor, arriving_at_a_barrier_does_not_wait) {
  int early = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    mhc::executor::set_seed(seed);
    int written = 0, seen = 0;
    bool ahead = false;
    run(1, 16, false, [&] {
      if (thread_index() < kThreads / 2) {
        ++written;
        arrive_threads(3, kThreads);
        ahead = ahead || seen == 0;
      } else {
        sync_threads(3, kThreads);
        if (thread_index() == kThreads - 1) seen = written;
      }
    });
    EXPECT_EQ(seen, kThreads / 2);
    early += ahead;
  }
  EXPECT_GT(early, 0);
}

// One place for several phases: each is waited for, and what it brings replaces what the one before did.
TEST(Executor, bulk_copies_come_in_phases) {
  constexpr int kPhases = 5;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    mhc::executor::set_seed(seed);
    alignas(16) float from[kPhases][kThreads];
    for (int p = 0; p < kPhases; ++p)
      for (int i = 0; i < kThreads; ++i) from[p][i] = static_cast<float>(p * kThreads + i);
    std::vector<float> sum(kThreads);
    run(1, sizeof from[0] + sizeof(BulkBarrier), false, [&] {
      float* to = reinterpret_cast<float*>(shared_memory());
      auto* barrier = reinterpret_cast<BulkBarrier*>(to + kThreads);
      const int t = thread_index();
      for (int p = 0; p < kPhases; ++p) {
        if (t == 0) {
          p == 0 ? bulk_start(barrier, sizeof from[p]) : bulk_again(barrier, sizeof from[p]);
          bulk_copy(to, from[p], sizeof from[p], barrier);
        }
        if (p == 0) sync_block();
        bulk_wait(barrier, p);
        sum[static_cast<size_t>(t)] += to[t];
        sync_block();
      }
    });
    for (int i = 0; i < kThreads; ++i) {
      float expected = 0;
      for (int p = 0; p < kPhases; ++p) expected += from[p][i];
      ASSERT_EQ(sum[static_cast<size_t>(i)], expected);
    }
  }
}

// Blocks that wait for each other, as a cooperative launch allows.
TEST(Executor, blocks_meet_through_counters) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    mhc::executor::set_seed(seed);
    uint32_t arrived = 0;
    std::vector<float> given(6), sums(6);
    run(6, 0, true, [&] {
      const size_t b = static_cast<size_t>(block_index());
      if (thread_index() == 0) {
        store1(&given[b], static_cast<float>(b + 1));
        add_release(&arrived, 1);
        while (load_acquire(&arrived) < 6) mhc::cuda::pause();
        for (const float& value : given) sums[b] += load_fresh(&value);
      }
    });
    for (float sum : sums) ASSERT_EQ(sum, 21.0f) << seed;
  }
}

TEST(Executor, mma_multiplies_what_tf32_holds) {
  mhc_test::Random random;
  float a[16][8], b[8][8], c[16][8], result[16][8];
  for (auto& row : a)
    for (float& v : row) v = cut_to_tf32(static_cast<float>(random.normal()));
  for (auto& row : b)
    for (float& v : row) v = cut_to_tf32(static_cast<float>(random.normal()));
  for (auto& row : c)
    for (float& v : row) v = static_cast<float>(random.normal());
  mhc::executor::run({1, 32, 0, false}, [&] {
    const int g = thread_index() / 4, t = thread_index() % 4;
    const float left[4] = {a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]}, right[2] = {b[t][g], b[t + 4][g]};
    float sum[4] = {c[g][2 * t], c[g][2 * t + 1], c[g + 8][2 * t], c[g + 8][2 * t + 1]};
    mma_tf32(sum, left, right);
    result[g][2 * t] = sum[0];
    result[g][2 * t + 1] = sum[1];
    result[g + 8][2 * t] = sum[2];
    result[g + 8][2 * t + 1] = sum[3];
  });
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      double exact = c[m][n];
      for (int k = 0; k < 8; ++k) exact += static_cast<double>(a[m][k]) * b[k][n];
      EXPECT_NEAR(result[m][n], exact, std::fabs(exact) * 0x1p-23);
    }
  }
}

}  // namespace
