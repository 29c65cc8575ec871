// SPDX-License-Identifier: Apache-2.0
#include "cuda/mix_backward.h"

#include "cuda/sums.h"

namespace mhc::cuda {
namespace {

// Of a block: few, since a token takes long, and all multiprocessors shall have some.
constexpr int kTokens = 64;

template <int N>
MHC_FN void start(const MixBackward& a, int64_t token, F* scratch) {
  const int n = N == kAnyStreams ? a.config.streams : N, others = a.m - n;
  constexpr int kRoomForMixes = kMixes<kRoom<N>>;
  const Record record(a, token);
  F mix[kRoomForMixes], d_logit[kRoomForMixes], d_mix[kRoomForMixes], d_scale[3];
  repeat<kMixes<N>>(a.m, [&](auto j) { mix[j] = set(a.product ? load1(a.mix.at(token, j)) : 0.0f); });
  if (a.layer) {
    F pre[kRoom<N>];
    if (a.pre_from_layer) {
      activate_pre_of<N>(a.config, a.scale.at(), a.bias.at(), mix, pre);
    } else {
      repeat<N>(n, [&](auto i) { pre[i] = set(load1(a.shifted_pre_mix.at(token, i))); });
    }
    repeat<N>(n, [&](auto i) { store1(record.pre() + i, pre[i].v); });
  }
  if (a.config.mode == MHC_MODE_RESIDUAL) return;
  F d_post[kRoom<N>], d_res[kRoom<N> * kRoom<N>];
  repeat<N>(n, [&](auto i) {
    d_post[i] = set(a.d_post ? load1(a.d_post.at(token, i)) : 0.0f);
    repeat<N>(n, [&](auto j) { d_res[i * n + j] = set(a.d_res ? load1(a.d_res.at(token, i, j)) : 0.0f); });
  });
  activate_backward_post_res_of<N>(a.config, a.scale.at(), a.bias.at(), mix, d_post, d_res, d_logit, d_mix, d_scale, scratch);
  put_logits<N * N + N>(a, token, n, others, d_logit);
  if (a.product) {
    put_scale(a, token, 1, d_scale[1]);
    put_scale(a, token, 2, d_scale[2]);
    store1(record.along(), put_g<N * N + N>(record, n, others, d_mix, mix, load1(a.inv_rms.at(token))));
  }
  if (a.pre_from_layer) return;
  F d_pre[kRoom<N>];
  repeat<N>(n, [&](auto i) { d_pre[i] = set(a.d_pre ? load1(a.d_pre.at(token, i)) : 0.0f); });
  finish_pre<N>(a, token, d_pre);
}

template <int N>
MHC_KERNEL(kTokens) start_kernel(MHC_CONSTANT MixBackward a, float* workspace, const int64_t scratch_of_thread) {
  F* scratch = reinterpret_cast<F*>(workspace) + (block_index() * block_threads() + thread_index()) * scratch_of_thread;
  for_each_of(a.tokens, [&](int64_t token) { start<N>(a, token, scratch); });
}

struct Sums {
  int64_t tokens;
  int m;
  bool accumulate;
  const float* logits;
  Array<float> d_bias, d_scale;
};

// A sum to a block: its threads take tokens 256 apart.
MHC_KERNEL(kThreads) sums_kernel(MHC_CONSTANT Sums a) {
  float* parts = reinterpret_cast<float*>(shared_memory());
  const int j = static_cast<int>(block_index());
  float sum = 0.0f;
  for (int64_t t = thread_index(); t < a.tokens; t += kThreads) sum += load1(a.logits + j * a.tokens + t);
  sum = over_warp(sum, Adding{});
  if (thread_index() % 32 == 0) parts[thread_index() / 32] = sum;
  sync_block();
  if (thread_index() > 0 || !(j < a.m ? a.d_bias.data : a.d_scale.data)) return;
  for (int w = 1; w < kThreads / 32; ++w) sum += parts[w];
  float* to = j < a.m ? a.d_bias.at(j) : a.d_scale.at(j - a.m);
  store1(to, a.accumulate ? load1(to) + sum : sum);
}

bool wants_sums(const BoundaryBackwardProblem& p) { return p.d_parameters.bias || p.d_parameters.scale; }
Grid grid_of(const BoundaryBackwardProblem& p, const DeviceProperties& device) {
  const int64_t blocks = (p.sizes.tokens + kTokens - 1) / kTokens, most = int64_t{8} * device.multiprocessors;
  return {blocks < most ? blocks : most, kTokens};
}
int64_t scratch_of_thread(const BoundaryBackwardProblem& p) {
  return p.config.mode == MHC_MODE_RESIDUAL ? 0 : static_cast<int64_t>(activate_backward_scratch(p.config));
}

struct Space {
  float *records, *logits, *scratch;
  size_t bytes;

  Space(const BoundaryBackwardProblem& p, const DeviceProperties& device, char* base) {
    Pieces pieces(base);
    const int64_t m = p.sizes.mix_count;
    const Grid grid = grid_of(p, device);
    records = pieces.take<float>(p.sizes.tokens * record_pitch(static_cast<int>(m), p.sizes.streams));
    logits = pieces.take<float>(wants_sums(p) ? p.sizes.tokens * (m + 3) : 0);
    scratch = pieces.take<float>(grid.blocks * grid.threads * scratch_of_thread(p));
    bytes = pieces.used();
  }
};

}  // namespace

size_t mix_backward_space(const BoundaryBackwardProblem& p, const DeviceProperties& device) { return Space(p, device, nullptr).bytes; }

MixBackward mix_backward_of(const BoundaryBackwardProblem& p, const DeviceProperties& device, char* workspace) {
  const Space space(p, device, workspace);
  MixBackward a = {};
  a.tokens = p.sizes.tokens;
  a.row = p.sizes.streams * p.sizes.width;
  a.config = p.config;
  a.m = static_cast<int>(p.sizes.mix_count);
  a.product = p.config.mode != MHC_MODE_RESIDUAL && !p.config.is_static;
  a.layer = p.d_h.given;
  a.pre_from_layer = a.layer && !p.config.shifted;
  a.scale = Array<const float>(p.parameters.scale);
  a.bias = Array<const float>(p.parameters.bias);
  a.mix = Array<const float>(p.mix);
  a.inv_rms = Array<const float>(p.inv_rms);
  a.d_pre = Array<const float>(p.d_pre_mix_next);
  a.d_post = Array<const float>(p.d_post_mix_next);
  a.d_res = Array<const float>(p.d_res_mix_next);
  a.shifted_pre_mix = Array<const float>(p.shifted_pre_mix);
  a.records = space.records;
  a.pitch = record_pitch(a.m, p.sizes.streams);
  a.logits = wants_sums(p) ? space.logits : nullptr;
  return a;
}

void start_mix_backward(const BoundaryBackwardProblem& p, const MixBackward& a, char* workspace, Job& job) {
  const Space space(p, job.device, workspace);
  with_mixes(p.config, [&](auto n) {
    job.launch(grid_of(p, job.device), start_kernel<n>, a, space.scratch, scratch_of_thread(p));
  });
}

void finish_mix_backward(const BoundaryBackwardProblem& p, const MixBackward& a, Job& job) {
  if (!wants_sums(p)) return;  // of no tokens too, where there is no workspace
  const int sums = a.product ? a.m + 3 : a.m;  // static coefficients have no scale
  job.launch({sums, kThreads, sizeof(float) * kThreads / 32}, sums_kernel,
             Sums{a.tokens, a.m, p.accumulate_parameters, a.logits, Array<float>(p.d_parameters.bias), Array<float>(p.d_parameters.scale)});
}

}  // namespace mhc::cuda
