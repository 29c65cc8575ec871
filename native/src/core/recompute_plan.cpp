// SPDX-License-Identifier: Apache-2.0
// Where to keep x_l (paper Eq. 20): every block length is tried, with the stages as they are.
#include <algorithm>

#include "core/arguments.h"

namespace mhc {
namespace {

// Layers of each pipeline stage.
struct Stages {
  int32_t layers, count;
  const int32_t* given;  // nullptr: as even as can be, longer first

  int32_t at(int32_t stage) const { return given ? given[stage] : layers / count + (stage < layers % count ? 1 : 0); }
  int32_t longest() const {
    int32_t most = 0;
    for (int32_t s = 0; s < count; ++s) most = std::max(most, at(s));
    return most;
  }
  // Blocks of at most length layers; any number above limit once that is passed.
  int64_t blocks(int32_t length, int64_t limit) const {
    int64_t sum = 0;
    for (int32_t s = 0; s < count && sum <= limit; ++s) sum += (at(s) + length - 1) / length;
    return sum;
  }
};

void check(Arguments& a, const mhc_recompute_plan_args& args) {
  a.in_range("layers", args.layers, 1, 1000000);
  a.in_range("streams", args.streams, 1, 16);
  a.in_range("stages", args.stages, 1, args.layers);
  if (!a.good() || !args.stage_layers) return;
  int64_t sum = 0;
  for (int32_t s = 0; s < args.stages; ++s) {
    if (args.stage_layers[s] < 1) a.fault("stage_layers[%d] is %d; expected at least 1", s, args.stage_layers[s]);
    sum += args.stage_layers[s];
  }
  if (a.good() && sum != args.layers) {
    a.fault("stage_layers sum to %lld; expected %d, the value of layers", static_cast<long long>(sum), args.layers);
  }
}

// The length with the least streams * blocks + (streams + 2) * length, the smaller of equals.
int32_t best_length(const Stages& stages, int64_t streams) {
  int32_t best = 1, longest = stages.longest();
  int64_t cost = streams * stages.layers + streams + 2;
  for (int32_t length = 2; length <= longest; ++length) {
    int64_t left = cost - (streams + 2) * length;  // what the blocks may cost
    if (left <= streams * stages.count) break;
    int64_t blocks = stages.blocks(length, left / streams);
    if (streams * blocks < left) {
      cost = streams * blocks + (streams + 2) * length;
      best = length;
    }
  }
  return best;
}

}  // namespace
}  // namespace mhc

mhc_status mhc_recompute_plan(mhc_recompute_plan_args* args) {
  mhc::Arguments arguments("mhc_recompute_plan", {MHC_DEVICE_CPU, 0}, true);
  if (arguments.block(args, sizeof *args)) mhc::check(arguments, *args);
  if (!arguments.good()) return arguments.status();
  const mhc::Stages stages{args->layers, args->stages, args->stage_layers};
  const int32_t length = mhc::best_length(stages, args->streams);
  int32_t blocks = 0, first = 0;
  for (int32_t s = 0; s < stages.count; ++s) {
    for (int32_t l = 0; l < stages.at(s); l += length, ++blocks) {
      if (args->block_starts) args->block_starts[blocks] = first + l;
    }
    first += stages.at(s);
  }
  args->block_length = length;
  args->blocks = blocks;
  args->stored_per_channel = static_cast<double>(args->streams) * blocks;
  args->transient_per_channel = (args->streams + 2.0) * length;
  return MHC_OK;
}
