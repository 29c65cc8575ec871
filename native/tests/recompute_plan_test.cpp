// SPDX-License-Identifier: Apache-2.0
// mhc_recompute_plan against every block length there is.
#include <algorithm>
#include <numeric>
#include <string>

#include "support.h"

using namespace mhc_test;

namespace {

struct Plan {
  mhc_recompute_plan_args args = {};
  std::vector<int32_t> stages, starts;

  Plan(int32_t layers, int32_t streams, std::vector<int32_t> stage_layers = {}, int32_t stage_count = 1) : stages(std::move(stage_layers)) {
    starts.assign(std::max(layers, 1), -7);
    args.struct_size = sizeof args;
    args.layers = layers;
    args.streams = streams;
    args.stages = stages.empty() ? stage_count : (int32_t)stages.size();
    args.stage_layers = stages.empty() ? nullptr : stages.data();
    args.block_starts = starts.data();
  }
};

// Blocks begin at each stage and every block_length layers within it.
void check(const Plan& p, const std::vector<int32_t>& stages) {
  std::vector<int32_t> expected;
  int32_t first = 0, longest = 0;
  for (int32_t layers : stages) {
    for (int32_t l = 0; l < layers; l += p.args.block_length) {
      expected.push_back(first + l);
      longest = std::max(longest, std::min(p.args.block_length, layers - l));
    }
    first += layers;
  }
  ASSERT_EQ(p.args.blocks, (int32_t)expected.size());
  EXPECT_EQ(std::vector<int32_t>(p.starts.begin(), p.starts.begin() + p.args.blocks), expected);
  EXPECT_EQ(p.args.stored_per_channel, (double)p.args.streams * p.args.blocks);
  EXPECT_EQ(p.args.transient_per_channel, (p.args.streams + 2.0) * longest);
  EXPECT_EQ(p.args.stored_per_channel + p.args.transient_per_channel, oracle::best_plan_cost(p.args.streams, stages));
}

TEST(RecomputePlan, is_the_cheapest) {
  for (int32_t streams : {1, 2, 4, 8, 16})
    for (int32_t layers : {1, 2, 3, 7, 30, 60, 61, 97, 200}) {
      Plan p(layers, streams);
      ASSERT_EQ(mhc_recompute_plan(&p.args), MHC_OK) << mhc_last_error();
      SCOPED_TRACE(std::to_string(layers) + " layers, " + std::to_string(streams) + " streams");
      check(p, {layers});
    }
}

TEST(RecomputePlan, never_crosses_a_stage) {
  for (const std::vector<int32_t>& stages : std::vector<std::vector<int32_t>>{{15, 15, 15, 15}, {1, 1, 1}, {2, 29, 3}, {61}, {7, 8}}) {
    const int32_t layers = std::accumulate(stages.begin(), stages.end(), 0);
    Plan p(layers, 4, stages);
    ASSERT_EQ(mhc_recompute_plan(&p.args), MHC_OK) << mhc_last_error();
    check(p, stages);
  }
}

TEST(RecomputePlan, splits_stages_evenly_longer_first) {
  Plan p(61, 4, {}, 4);
  ASSERT_EQ(mhc_recompute_plan(&p.args), MHC_OK) << mhc_last_error();
  check(p, {16, 15, 15, 15});
}

TEST(RecomputePlan, can_do_without_the_starts) {
  Plan p(60, 4);
  p.args.block_starts = nullptr;
  ASSERT_EQ(mhc_recompute_plan(&p.args), MHC_OK) << mhc_last_error();
  EXPECT_GT(p.args.blocks, 0);
}

TEST(RecomputePlan, refuses_bad_input) {
  struct Row {
    const char* what;
    Plan plan;
    std::vector<std::string> words;
  };
  Row rows[] = {{"no layers", Plan(0, 4), {"layers", "0", "1000000"}},
                {"too many layers", Plan(1000001, 4), {"layers", "1000001", "1000000"}},
                {"no streams", Plan(9, 0), {"streams", "0", "16"}},
                {"17 streams", Plan(9, 17), {"streams", "17", "16"}},
                {"no stages", Plan(9, 4, {}, 0), {"stages", "0"}},
                {"more stages than layers", Plan(9, 4, {}, 10), {"stages", "10", "9"}},
                {"stages of too few layers", Plan(9, 4, {4, 4}), {"stage_layers", "8", "9"}},
                {"a stage without layers", Plan(9, 4, {9, 0}), {"stage_layers", "0"}},
                {"layers < 0", Plan(-1, 4), {"layers", "-1", "1000000"}},
                {"streams < 0", Plan(9, -1), {"streams", "-1", "16"}},
                {"stages < 0", Plan(9, 4, {}, -1), {"stages", "-1", "9"}},
                {"a stage of less than no layers", Plan(9, 4, {10, -1}), {"stage_layers", "-1"}},
                {"a block too small", Plan(9, 4), {"struct_size", "4"}}};
  std::end(rows)[-1].plan.args.struct_size = 4;
  for (Row& row : rows) {
    SCOPED_TRACE(row.what);
    row.plan.args.blocks = 77;
    row.plan.args.stage_layers = row.plan.stages.empty() ? nullptr : row.plan.stages.data();
    row.plan.args.block_starts = row.plan.starts.data();
    EXPECT_EQ(mhc_recompute_plan(&row.plan.args), MHC_INVALID_ARGUMENT);
    const std::string message = mhc_last_error();
    EXPECT_EQ(message.rfind("mhc_recompute_plan: ", 0), 0u) << message;
    EXPECT_NE(message.find("expected"), std::string::npos) << message;
    for (const std::string& word : row.words) EXPECT_NE(message.find(word), std::string::npos) << word << " is not in: " << message;
    EXPECT_EQ(row.plan.args.blocks, 77);
    EXPECT_EQ(row.plan.starts[0], -7);
  }
  EXPECT_EQ(mhc_recompute_plan(nullptr), MHC_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(mhc_last_error()).rfind("mhc_recompute_plan: args is NULL; expected", 0), 0u) << mhc_last_error();
}

}  // namespace
