// SPDX-License-Identifier: Apache-2.0
// Every operation of mhc.h once more, in plain double precision and without a line of the library: what the tests
// compare the library with. It is itself compared with PyTorch's autograd (golden files) and with finite differences.
#pragma once

#include <cstdint>
#include <vector>

#include "mhc/mhc.h"

namespace oracle {

// Row-major values of a tensor; empty: not given, not wanted.
using Array = std::vector<double>;

// What a value is rounded to when it is stored. exact: nothing, for finite differences.
enum class Type { exact, bf16, fp16, fp32 };
double rounded(Type type, double value);
Array rounded(Type type, Array values);

// While it lives the oracle errs as float32 would: each intermediate result of this thread is off by up to half a place,
// at random. How far that moves a result says how well float32 can know it.
class Float32Noise {
 public:
  explicit Float32Noise(uint64_t seed);
  ~Float32Noise();
  Float32Noise(const Float32Noise&) = delete;
  Float32Noise& operator=(const Float32Noise&) = delete;
};
inline thread_local uint64_t noise_state = 0;  // of a generator by xor and shift; 0: no noise
// 0, or such an error relative to the result.
inline double noise() {
  if (noise_state == 0) return 0;
  noise_state ^= noise_state << 13;
  noise_state ^= noise_state >> 7;
  noise_state ^= noise_state << 17;
  return (double)(int64_t)noise_state * 0x1p-87;
}
// An intermediate result, and a sum of products whose every partial sum is one.
template <class Real>
Real kept(Real value) {
  const double share = noise();
  return share == 0 ? value : value + value * share;
}
double dot(const double* a, const double* b, size_t count);

struct Shape {
  int64_t tokens, streams, width;
  int64_t row() const { return streams * width; }
};

struct Parameters {
  Array projection, scale, bias, norm_weight;
};

struct Coefficients {
  Array pre_mix, post_mix, res_mix, mix, inv_rms;
};

// Sinkhorn of one k x k matrix after another, and its backward through every half-step.
Array sinkhorn(const mhc_config& config, const Array& logits, int64_t k);
Array sinkhorn_backward(const mhc_config& config, const Array& logits, const Array& d_out, int64_t k);

int64_t mix_count(const mhc_config& config);
// The two halves of coefficients(): the projection, and what follows it.
Coefficients project(const mhc_config& config, const Parameters& parameters, const Array& x, Shape shape);
void activate(const mhc_config& config, const Parameters& parameters, int64_t tokens, Coefficients& coefficients);
Coefficients coefficients(const mhc_config& config, const Parameters& parameters, const Array& x, Shape shape);

struct CoefficientGradients {
  Array d_x;
  Parameters d_parameters;
};
// Cotangents may be empty: zero.
CoefficientGradients coefficients_backward(const mhc_config& config, const Parameters& parameters, const Array& x,
                                           Shape shape, const Array& d_pre_mix, const Array& d_post_mix,
                                           const Array& d_res_mix);

Array pre(const Array& x, const Array& pre_mix, Shape shape);
struct PreGradients {
  Array d_x, d_pre_mix;
};
PreGradients pre_backward(const Array& x, const Array& pre_mix, const Array& d_h, Shape shape);

Array post(int32_t orientation, const Array& x, const Array& f, const Array& post_mix, const Array& res_mix, Shape shape);
struct PostGradients {
  Array d_x, d_f, d_post_mix, d_res_mix;
};
PostGradients post_backward(int32_t orientation, const Array& x, const Array& f, const Array& post_mix,
                            const Array& res_mix, const Array& d_x_next, Shape shape);

struct Norm {
  Array y, inv_rms;
};
// weight may be empty: ones.
Norm rmsnorm(const Array& x, const Array& weight, double eps, int64_t width);
struct NormGradients {
  Array d_x, d_weight;
};
NormGradients rmsnorm_backward(const Array& x, const Array& weight, const Array& d_y, double eps, int64_t width);

// Inputs of a boundary; those that its kind does not have are empty. x_next and h are rounded to their types on the
// way, unless given here: then these very values are used, as when the library has stored them.
struct Boundary {
  mhc_config config;
  Parameters parameters;
  Shape shape;
  Type stream_type, layer_type;
  Array x, f, post_mix, res_mix, shifted_pre_mix, norm_weight;
  double norm_eps = 0;
  Array x_next, h;
};
struct BoundaryResult {
  Array x_next, h, y;  // exact
  Coefficients next;
};
BoundaryResult boundary(const Boundary& inputs);
struct BoundaryCotangents {
  Array d_h, d_x_next, d_pre_mix_next, d_post_mix_next, d_res_mix_next;
};
struct BoundaryGradients {
  Array d_x, d_f, d_post_mix, d_res_mix, d_shifted_pre_mix, d_norm_weight;
  Parameters d_parameters;
};
BoundaryGradients boundary_backward(const Boundary& inputs, const BoundaryCotangents& cotangents);

Array expand(const Array& embedding, Shape shape);
Array expand_backward(const Array& d_x, Shape shape);

struct Head {
  Array y, mix, inv_rms;
};
Head head(const mhc_config& config, int32_t kind, const Parameters& parameters, const Array& x, Shape shape);
CoefficientGradients head_backward(const mhc_config& config, int32_t kind, const Parameters& parameters, const Array& x,
                                   const Array& d_y, Shape shape);

// E4M3 without infinities: round to nearest, ties to even, saturating at 448; NaN stays NaN.
uint8_t e4m3_from(double value);
double e4m3_value(uint8_t bits);
struct Quantized {
  std::vector<uint8_t> dst;
  Array scale;
};
Quantized fp8_quantize(const Array& src, int64_t rows, int64_t columns, int32_t tile, int32_t scale_rounding, double amax_floor);
Array fp8_dequantize(const std::vector<uint8_t>& src, const Array& scale, int64_t rows, int64_t columns, int32_t tile);

struct Gain {
  Array forward, backward, contraction, composite_forward, composite_backward, composite_contraction;
};
Gain gain(int32_t orientation, const Array& res_mix, int64_t layers, int64_t tokens, int64_t n);
// max over |row sum - 1|, |column sum - 1| and -entry.
Array doubly_stochastic_distance(const Array& matrix, int64_t batch, int64_t k);
// The largest v such that some permutation meets only entries >= v. Tries all k! of them.
double bottleneck(const Array& matrix, int64_t k);

// The least nC * blocks + (n+2)C * longest block over all block lengths, in elements of C.
double best_plan_cost(int32_t streams, const std::vector<int32_t>& stage_layers);

}  // namespace oracle
