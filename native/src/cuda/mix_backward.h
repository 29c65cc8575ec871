// SPDX-License-Identifier: Apache-2.0
// The backward of a token's coefficients. What does not need its row comes first, a token to a thread: all of it but pre's
// part of a boundary whose h pre_mix makes, since that gradient is a sum over the row. It is added when the sum is there.
#pragma once

#include "cuda/rows.h"
#include "lanes/activate.h"
#include "lanes/rms.h"

namespace mhc::cuda {

struct MixBackward {
  int64_t tokens, row;  // row: elements of a token, streams * width
  mhc_config config;
  int m;
  bool product;         // the coefficients depend on the row
  bool layer;           // there is an h
  bool pre_from_layer;  // which pre_mix makes
  Array<const float> scale, bias, mix, inv_rms, d_pre, d_post, d_res, shifted_pre_mix;
  float* records;   // a Record a token
  int64_t pitch;    // floats of one
  float* logits;    // [m + 3][tokens]: the gradients of bias and scale, token by token; nullptr where nobody asks for them
};

// What the later kernels want of a token:
//   g[m]      d_mix / r          c        what the row's gradient gets of the row itself
//   inv_rms, inner  of h, where it is normalised: dh = inv_rms * (d_y * weight - inner * h)
//   along     <d_mix, mix>       pre[n]   what makes h
struct Record {
  float* g;
  int m;

  MHC_FN Record(const MixBackward& a, int64_t token) : g(a.records + token * a.pitch), m(a.m) {}
  MHC_FN float* c() const { return g + m; }
  MHC_FN float* inv_rms() const { return g + m + 1; }
  MHC_FN float* inner() const { return g + m + 2; }
  MHC_FN float* along() const { return g + m + 3; }
  MHC_FN float* pre() const { return g + m + 4; }
};
inline int64_t record_pitch(int m, int n) { return (m + 4 + n + 3) / 4 * 4; }

// Numbers of a token's mix: known while compiling for four streams, but not in MHC_MODE_MHC_LITE, which has others.
template <int N>
inline constexpr int kMixes = N * N + 2 * N;
template <class Body>
void with_mixes(const mhc_config& config, const Body& body) {
  with_streams(config.mode == MHC_MODE_MHC_LITE ? kAnyStreams : config.streams, body);
}

// Gradients of count logits from the first on, and of a scale, to where they are summed over tokens from. kCount is count
// where it is known while compiling.
template <int kCount>
MHC_FN void put_logits(const MixBackward& a, int64_t token, int first, int count, const F* d_logit) {
  if (!a.logits) return;
  repeat<kCount>(count, [&](auto j) { store1(a.logits + (first + j) * a.tokens + token, d_logit[first + j].v); });
}
MHC_FN void put_scale(const MixBackward& a, int64_t token, int part, F d_scale) {
  if (a.logits) store1(a.logits + (a.m + part) * a.tokens + token, d_scale.v);
}

// g of count mixes from the first on; returns their part of <d_mix, mix>.
template <int kCount>
MHC_FN float put_g(const Record& record, int first, int count, const F* d_mix, const F* mix, float inv_rms) {
  float along = 0.0f;
  repeat<kCount>(count, [&](auto j) {
    store1(record.g + first + j, d_mix[first + j].v * inv_rms);
    along = fmaf(d_mix[first + j].v, mix[first + j].v, along);
  });
  return along;
}

MHC_FN float through_rms(const MixBackward& a, float along, float inv_rms) {
  return through_rms(set(along), set(inv_rms), a.row, a.config.rms_eps_mode, a.config.rms_eps).v;
}

// pre's part, from d_pre[n]; inv_rms and along as they are in memory by now.
template <int N>
MHC_FN void finish_pre(const MixBackward& a, int64_t token, const F* d_pre) {
  const int n = N == kAnyStreams ? a.config.streams : N;
  F mix[kRoom<N>], d_logit[kRoom<N>], d_mix[kRoom<N>], d_scale[1];
  repeat<N>(n, [&](auto i) { mix[i] = set(a.product ? load1(a.mix.at(token, i)) : 0.0f); });
  if (a.config.mode == MHC_MODE_RESIDUAL) return;
  activate_backward_pre_of<N>(a.config, a.scale.at(), a.bias.at(), mix, d_pre, d_logit, d_mix, d_scale);
  put_logits<N>(a, token, 0, n, d_logit);
  if (!a.product) return;
  put_scale(a, token, 0, d_scale[0]);
  const Record record(a, token);
  const float inv_rms = load1(a.inv_rms.at(token));
  const float along = load1(record.along()) + put_g<N>(record, 0, n, d_mix, mix, inv_rms);
  store1(record.c(), through_rms(a, along, inv_rms));
}

// What a problem asks for. workspace holds mix_backward_space() bytes.
size_t mix_backward_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
MixBackward mix_backward_of(const BoundaryBackwardProblem& problem, const DeviceProperties& device, char* workspace);
// All that does not need the row.
void start_mix_backward(const BoundaryBackwardProblem& problem, const MixBackward& a, char* workspace, Job& job);
// d_parameters.bias and scale, from the logits of all tokens.
void finish_mix_backward(const BoundaryBackwardProblem& problem, const MixBackward& a, Job& job);

}  // namespace mhc::cuda
