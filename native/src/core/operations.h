// SPDX-License-Identifier: Apache-2.0
// Every operation once: its name, and the checked arguments that a backend gets. mhc.h says what they mean.
#pragma once

#include "core/view.h"
#include "mhc/mhc.h"

// X(name, NAME, Type)
#define MHC_OPERATIONS(X)                                                                        \
  X(coefficients, COEFFICIENTS, Coefficients)                                                    \
  X(coefficients_backward, COEFFICIENTS_BACKWARD, CoefficientsBackward)                          \
  X(sinkhorn, SINKHORN, Sinkhorn)                                                                \
  X(sinkhorn_backward, SINKHORN_BACKWARD, SinkhornBackward)                                      \
  X(pre, PRE, Pre)                                                                               \
  X(pre_backward, PRE_BACKWARD, PreBackward)                                                     \
  X(post, POST, Post)                                                                            \
  X(post_backward, POST_BACKWARD, PostBackward)                                                  \
  X(boundary, BOUNDARY, Boundary)                                                                \
  X(boundary_backward, BOUNDARY_BACKWARD, BoundaryBackward)                                      \
  X(expand, EXPAND, Expand)                                                                      \
  X(expand_backward, EXPAND_BACKWARD, ExpandBackward)                                            \
  X(head, HEAD, Head)                                                                            \
  X(head_backward, HEAD_BACKWARD, HeadBackward)                                                  \
  X(rmsnorm, RMSNORM, Rmsnorm)                                                                   \
  X(rmsnorm_backward, RMSNORM_BACKWARD, RmsnormBackward)                                         \
  X(fp8_quantize, FP8_QUANTIZE, Fp8Quantize)                                                     \
  X(fp8_dequantize, FP8_DEQUANTIZE, Fp8Dequantize)                                               \
  X(gain, GAIN, Gain)                                                                            \
  X(doubly_stochastic_distance, DOUBLY_STOCHASTIC_DISTANCE, DoublyStochasticDistance)            \
  X(birkhoff, BIRKHOFF, Birkhoff)                                                                \
  X(recompute, RECOMPUTE, Recompute)

namespace mhc {

// What an FP8 tile's amax is at least, where the caller does not say.
constexpr float kFp8AmaxFloor = 1e-4f;

struct ParameterViews {
  View projection, scale, bias, norm_weight;
};
struct CoefficientViews {
  View pre_mix, post_mix, res_mix, mix, inv_rms;
};

// Sizes that several problems share. tokens is T, streams n, width C, mix_count m.
struct Sizes {
  int64_t tokens = 0;
  int streams = 1;
  int64_t width = 1;
  int64_t mix_count = 0;
};

struct CoefficientsProblem {
  Sizes sizes;
  mhc_config config;
  ParameterViews parameters;
  View x;
  CoefficientViews out;
};
struct CoefficientsBackwardProblem {
  Sizes sizes;
  mhc_config config;
  ParameterViews parameters;
  bool accumulate_inputs, accumulate_parameters;
  View x, mix, inv_rms, d_pre_mix, d_post_mix, d_res_mix, d_x;
  ParameterViews d_parameters;
};
struct SinkhornProblem {
  int64_t batch, size;
  mhc_config config;
  View logits, out;
};
struct SinkhornBackwardProblem {
  int64_t batch, size;
  mhc_config config;
  bool accumulate_inputs;
  View logits, d_out, d_logits;
};
struct PreProblem {
  Sizes sizes;
  View x, pre_mix, h;
};
struct PreBackwardProblem {
  Sizes sizes;
  bool accumulate_inputs;
  View x, pre_mix, d_h, d_x, d_pre_mix;
};
struct PostProblem {
  Sizes sizes;
  int32_t orientation;
  View x, f, f_scale, post_mix, res_mix, x_next;  // f_scale is given where f is E4M3
};
struct PostBackwardProblem {
  Sizes sizes;
  int32_t orientation;
  bool accumulate_inputs;
  View x, f, f_scale, post_mix, res_mix, d_x_next, d_x, d_f, d_post_mix, d_res_mix;
  DType layer_type;  // type of d_f, and of f unless that is FP8
};
struct BoundaryProblem {
  Sizes sizes;
  mhc_config config;
  ParameterViews parameters;
  View x, f, f_scale, post_mix, res_mix, x_next, shifted_pre_mix;  // f is not given where there is no post
  CoefficientViews next;
  View h, norm_weight, y, h_fp8, h_scale;
  float norm_eps;
  int32_t fp8_scale_rounding;
  DType layer_type;  // type of h, and of f unless that is FP8; h is rounded to it even where it is not written
};
struct BoundaryBackwardProblem {
  Sizes sizes;
  mhc_config config;
  ParameterViews parameters;
  bool accumulate_inputs, accumulate_parameters;
  float norm_eps;
  View x, f, f_scale, post_mix, res_mix, shifted_pre_mix, norm_weight, mix, inv_rms;
  View d_h, d_x_next, d_pre_mix_next, d_post_mix_next, d_res_mix_next;
  View d_x, d_f, d_post_mix, d_res_mix, d_shifted_pre_mix, d_norm_weight;
  ParameterViews d_parameters;
};
// The backward of a boundary with neither a post nor a layer.
inline BoundaryBackwardProblem as_boundary(const CoefficientsBackwardProblem& p) {
  BoundaryBackwardProblem b{};
  b.sizes = p.sizes;
  b.config = p.config;
  b.parameters = p.parameters;
  b.accumulate_inputs = p.accumulate_inputs;
  b.accumulate_parameters = p.accumulate_parameters;
  b.x = p.x;
  b.mix = p.mix;
  b.inv_rms = p.inv_rms;
  b.d_pre_mix_next = p.d_pre_mix;
  b.d_post_mix_next = p.d_post_mix;
  b.d_res_mix_next = p.d_res_mix;
  b.d_x = p.d_x;
  b.d_parameters = p.d_parameters;
  return b;
}
struct ExpandProblem {
  Sizes sizes;
  View embedding, x;
};
struct ExpandBackwardProblem {
  Sizes sizes;
  bool accumulate_inputs;
  View d_x, d_embedding;
};
struct HeadProblem {
  Sizes sizes;
  mhc_config config;
  int32_t kind;
  View projection, scale, bias, x, y, mix, inv_rms;
};
struct HeadBackwardProblem {
  Sizes sizes;
  mhc_config config;
  int32_t kind;
  bool accumulate_inputs, accumulate_parameters;
  View projection, scale, bias, x, mix, inv_rms, d_y, d_x, d_projection, d_scale, d_bias;
};
struct RmsnormProblem {
  Sizes sizes;
  float eps;
  View x, weight, y, inv_rms;
};
struct RmsnormBackwardProblem {
  Sizes sizes;
  float eps;
  bool accumulate_inputs, accumulate_parameters;
  View x, weight, d_y, d_x, d_weight;
};
struct Fp8QuantizeProblem {
  int64_t rows, columns;
  int32_t tile, scale_rounding;
  float amax_floor;
  View src, dst, scale;
};
struct Fp8DequantizeProblem {
  int64_t rows, columns;
  int32_t tile;
  View src, scale, dst;
};
struct GainProblem {
  int64_t layers, tokens;
  int streams;
  int32_t orientation;
  View res_mix, forward, backward, contraction, composite_forward, composite_backward, composite_contraction;
};
struct DoublyStochasticDistanceProblem {
  int64_t batch, size;
  View matrix, distance;
};
struct BirkhoffProblem {
  int64_t batch, terms_limit;
  int size;
  View matrix, weight, permutation, terms, remainder;
};

struct RecomputeLayerViews {
  ParameterViews parameters;
  View f, f_scale;
  CoefficientViews out;
  View x, h;
};
struct RecomputeProblem {
  Sizes sizes;
  mhc_device device;
  mhc_config config;
  int32_t layers;
  View x, shifted_pre_mix, x_next;
  DType layer_type;
  // Layers are read one at a time from the caller's block, so that nothing is allocated; they were all checked.
  const mhc_recompute_layer* layer;
  const mhc_tensor* const* f_scale;
  RecomputeLayerViews at(int32_t index) const;
};

}  // namespace mhc
