// SPDX-License-Identifier: Apache-2.0
// The oracle against PyTorch's double precision (golden files) and its gradients against finite differences. What agrees
// here may judge the library.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "golden.h"
#include "oracle.h"

using oracle::Array;
using oracle::Shape;

namespace {

// Relative to the largest value: both sides are doubles, the files keep 32 bits.
void expect_close(const Array& expected, const Array& actual, const std::string& what, double tolerance = 1e-9) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  double size = 0;
  for (double v : expected) size = std::max(size, std::fabs(v));
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(expected[i], actual[i], tolerance * std::max(size, 1e-3)) << what << " at " << i;
}

void expect_golden(const golden::Case& c, const std::string& name, const Array& actual, double tolerance = 1e-9) {
  if (c.has(name)) expect_close(c.values(name), actual, c.name() + " " + name, tolerance);
}

oracle::Parameters parameters(const golden::Case& c, const std::string& prefix) {
  return {c.values(prefix + "projection"), c.values(prefix + "scale"), c.values(prefix + "bias"), c.values(prefix + "norm_weight")};
}

void expect_gradients(const golden::Case& c, const std::string& prefix, const oracle::Parameters& actual) {
  expect_golden(c, prefix + "projection", actual.projection);
  expect_golden(c, prefix + "scale", actual.scale);
  expect_golden(c, prefix + "bias", actual.bias);
  expect_golden(c, prefix + "norm_weight", actual.norm_weight);
}

void expect_coefficients(const golden::Case& c, const std::string& prefix, const oracle::Coefficients& actual) {
  expect_golden(c, prefix + "pre_mix", actual.pre_mix);
  expect_golden(c, prefix + "post_mix", actual.post_mix);
  expect_golden(c, prefix + "res_mix", actual.res_mix);
  expect_golden(c, prefix + "mix", actual.mix);
  expect_golden(c, prefix + "inv_rms", actual.inv_rms);
}

Shape shape_of(const golden::Tensor& x) { return {x.shape[0], x.shape[1], x.shape[2]}; }

class OracleGolden : public testing::TestWithParam<std::string> {};

std::vector<std::string> all_cases() {
  std::vector<std::string> names;
  for (const char* operation : {"coefficients", "sinkhorn", "pre", "post", "boundary", "head", "rmsnorm", "expand",
                                "fp8_quantize", "gain", "chain"})
    for (const std::string& name : golden::cases(operation)) names.push_back(name);
  return names;
}

void check_coefficients(const golden::Case& c) {
  const Shape s = shape_of(c.tensor("x"));
  const auto p = parameters(c, "parameters_");
  expect_coefficients(c, "out_", oracle::coefficients(c.config(), p, c.values("x"), s));
  const auto g = oracle::coefficients_backward(c.config(), p, c.values("x"), s, c.values("d_pre_mix"),
                                               c.values("d_post_mix"), c.values("d_res_mix"));
  expect_golden(c, "d_x", g.d_x);
  expect_gradients(c, "d_parameters_", g.d_parameters);
}

void check_sinkhorn(const golden::Case& c) {
  const int64_t k = c.tensor("logits").shape[1];
  const double tolerance = k > 16 ? 1e-6 : 1e-9;  // the large case keeps 20 bits
  expect_golden(c, "out", oracle::sinkhorn(c.config(), c.values("logits"), k), tolerance);
  expect_golden(c, "d_logits", oracle::sinkhorn_backward(c.config(), c.values("logits"), c.values("d_out"), k), tolerance);
}

void check_pre(const golden::Case& c) {
  const Shape s = shape_of(c.tensor("x"));
  expect_golden(c, "h", oracle::pre(c.values("x"), c.values("pre_mix"), s));
  const auto g = oracle::pre_backward(c.values("x"), c.values("pre_mix"), c.values("d_h"), s);
  expect_golden(c, "d_x", g.d_x);
  expect_golden(c, "d_pre_mix", g.d_pre_mix);
}

void check_post(const golden::Case& c) {
  const Shape s = shape_of(c.tensor("x"));
  const auto o = (int32_t)c.integer("orientation");
  const Array x = c.values("x"), f = c.values("f"), post = c.values("post_mix"), res = c.values("res_mix");
  expect_golden(c, "x_next", oracle::post(o, x, f, post, res, s));
  const auto g = oracle::post_backward(o, x, f, post, res, c.values("d_x_next"), s);
  expect_golden(c, "d_x", g.d_x);
  expect_golden(c, "d_f", g.d_f);
  expect_golden(c, "d_post_mix", g.d_post_mix);
  expect_golden(c, "d_res_mix", g.d_res_mix);
}

void check_boundary(const golden::Case& c) {
  oracle::Boundary b{c.config(), parameters(c, "parameters_"), shape_of(c.tensor("x")), c.stream_type(), c.layer_type(),
                     c.values("x"), c.values("f"), c.values("post_mix"), c.values("res_mix"), c.values("shifted_pre_mix"),
                     c.values("norm_weight"), c.has("norm_weight") ? c.number("norm_eps") : 0, {}, {}};
  const auto forward = oracle::boundary(b);
  expect_golden(c, "x_next", forward.x_next);
  expect_golden(c, "h", forward.h);
  expect_golden(c, "y", forward.y);
  expect_coefficients(c, "next_", forward.next);
  if (!c.has("d_h")) return;
  const auto g = oracle::boundary_backward(b, {c.values("d_h"), c.values("d_x_next"), c.values("d_pre_mix_next"),
                                               c.values("d_post_mix_next"), c.values("d_res_mix_next")});
  expect_golden(c, "d_x", g.d_x);
  expect_golden(c, "d_f", g.d_f);
  expect_golden(c, "d_post_mix", g.d_post_mix);
  expect_golden(c, "d_res_mix", g.d_res_mix);
  expect_golden(c, "d_shifted_pre_mix", g.d_shifted_pre_mix);
  expect_golden(c, "d_norm_weight", g.d_norm_weight);
  expect_gradients(c, "d_parameters_", g.d_parameters);
}

void check_head(const golden::Case& c) {
  const Shape s = shape_of(c.tensor("x"));
  const auto kind = (int32_t)c.integer("kind");
  const auto p = parameters(c, "");
  const auto forward = oracle::head(c.config(), kind, p, c.values("x"), s);
  expect_golden(c, "y", forward.y);
  expect_golden(c, "mix", forward.mix);
  expect_golden(c, "inv_rms", forward.inv_rms);
  const auto g = oracle::head_backward(c.config(), kind, p, c.values("x"), c.values("d_y"), s);
  expect_golden(c, "d_x", g.d_x);
  expect_gradients(c, "d_", g.d_parameters);
}

void check_rmsnorm(const golden::Case& c) {
  const int64_t width = c.tensor("x").shape[1];
  const auto forward = oracle::rmsnorm(c.values("x"), c.values("weight"), c.number("eps"), width);
  expect_golden(c, "y", forward.y);
  expect_golden(c, "inv_rms", forward.inv_rms);
  const auto g = oracle::rmsnorm_backward(c.values("x"), c.values("weight"), c.values("d_y"), c.number("eps"), width);
  expect_golden(c, "d_x", g.d_x);
  expect_golden(c, "d_weight", g.d_weight);
}

void check_expand(const golden::Case& c) {
  const Shape s = shape_of(c.tensor("x"));
  expect_golden(c, "x", oracle::expand(c.values("embedding"), s), 0);
  expect_golden(c, "d_embedding", oracle::expand_backward(c.values("d_x"), s));
}

void check_fp8_quantize(const golden::Case& c) {
  const auto& src = c.tensor("src");
  const auto tile = (int32_t)c.integer("tile");
  const auto q = oracle::fp8_quantize(src.values, src.shape[0], src.shape[1], tile, (int32_t)c.integer("scale_rounding"), 0);
  expect_golden(c, "scale", q.scale, 0);
  Array dst;
  for (uint8_t bits : q.dst) dst.push_back(oracle::e4m3_value(bits));
  expect_golden(c, "dst", dst, 0);
}

void check_gain(const golden::Case& c) {
  const auto& res = c.tensor("res_mix");
  const auto g = oracle::gain((int32_t)c.integer("orientation"), res.values, res.shape[0], res.shape[1], res.shape[2]);
  expect_golden(c, "forward", g.forward);
  expect_golden(c, "backward", g.backward);
  expect_golden(c, "contraction", g.contraction);
  expect_golden(c, "composite_forward", g.composite_forward);
  expect_golden(c, "composite_backward", g.composite_backward);
  expect_golden(c, "composite_contraction", g.composite_contraction);
}

// A stack of layers out of single operations, as a caller chains them.
void check_chain(const golden::Case& c) {
  const auto& embedding = c.tensor("embedding");
  const mhc_config config = c.config();
  const Shape s{embedding.shape[0], config.streams, embedding.shape[1]};
  Array entering = oracle::expand(embedding.values, s), shifted = c.values("shifted_pre_mix");
  for (int64_t l = 0; l < c.integer("layers"); ++l) {
    const std::string layer = "layer" + std::to_string(l) + "_";
    oracle::Boundary b{config, parameters(c, layer + "parameters_"), s, c.stream_type(), c.layer_type(), entering, {}, {}, {},
                       shifted, {}, 0, {}, {}};
    const auto r = oracle::boundary(b);
    expect_golden(c, layer + "h", r.h);
    const Array next = oracle::post(config.orientation, entering, c.values(layer + "f"), r.next.post_mix, r.next.res_mix, s);
    expect_golden(c, layer + "x_next", next);
    entering = oracle::rounded(c.stream_type(), next);
    shifted = r.next.pre_mix;
  }
  expect_golden(c, "y", config.shifted ? oracle::pre(entering, shifted, s)
                                       : oracle::head(config, MHC_HEAD_WEIGHTED, parameters(c, "head_"), entering, s).y);
}

TEST_P(OracleGolden, agrees) {
  const golden::Case c(GetParam());
  const std::string operation = c.text("operation");
  const std::map<std::string, void (*)(const golden::Case&)> checks = {
      {"coefficients", check_coefficients}, {"sinkhorn", check_sinkhorn}, {"pre", check_pre}, {"post", check_post},
      {"boundary", check_boundary}, {"head", check_head}, {"rmsnorm", check_rmsnorm}, {"expand", check_expand},
      {"fp8_quantize", check_fp8_quantize}, {"gain", check_gain}, {"chain", check_chain}};
  checks.at(operation)(c);
}

INSTANTIATE_TEST_SUITE_P(all, OracleGolden, testing::ValuesIn(all_cases()), [](const auto& info) { return info.param; });

// ------------------------------------------------------------------------------------------------- finite differences

class FiniteDifferences : public testing::Test {
 protected:
  Array normal(size_t count, double deviation = 1, double mean = 0) {
    std::normal_distribution<double> distribution(mean, deviation);
    Array values(count);
    for (double& v : values) v = distribution(engine_);
    return values;
  }

  oracle::Parameters random_parameters(const mhc_config& config, Shape s, bool norm_weight) {
    const size_t m = oracle::mix_count(config), row = s.row();
    return {normal(m * row, 1 / std::sqrt(row)), normal(3, 0.4, 1.5), normal(m), norm_weight ? normal(row, 0.3, 1) : Array{}};
  }

  // d/dt objective(values + t * direction) against <gradient, direction>, for a random direction. values is changed in
  // place and put back.
  void expect_gradient(Array& values, const Array& gradient, const std::function<double()>& objective, const char* what) {
    ASSERT_EQ(values.size(), gradient.size()) << what;
    const Array start = values, direction = normal(values.size());
    auto at = [&](double t) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = start[i] + t * direction[i];
      return objective();
    };
    const double step = 1e-4, slope = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
    values = start;
    double expected = 0, size = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      expected += gradient[i] * direction[i];
      size += std::fabs(gradient[i] * direction[i]);
    }
    EXPECT_NEAR(expected, slope, 1e-7 * (size + 1)) << what;
  }

  std::mt19937_64 engine_{20260929};
};

double dot(const Array& a, const Array& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Every convention that mhc_config can spell, not just the presets.
std::vector<mhc_config> conventions(int32_t streams) {
  std::vector<mhc_config> all;
  for (int32_t start = 0; start < 3; ++start)
    for (int32_t order = 0; order < 2; ++order)
      for (int32_t eps_mode = 0; eps_mode < 3; ++eps_mode) {
        mhc_config c = {};
        c.struct_size = sizeof c;
        c.streams = streams;
        c.mode = MHC_MODE_MHC;
        c.iterations = 5;
        c.sinkhorn_start = start;
        c.sinkhorn_order = order;
        c.sinkhorn_eps_mode = eps_mode;
        c.sinkhorn_eps = 0.3f;  // large, so that its part of the gradient shows and some sums are clamped
        c.orientation = order;
        c.rms_eps_mode = eps_mode % 2;
        c.rms_eps = 0.2f;
        c.pre_eps = 0.1f;
        c.post_multiplier = 1.25f;
        all.push_back(c);
      }
  for (int32_t mode : {MHC_MODE_HC, MHC_MODE_MHC_LITE}) {
    mhc_config c = all.front();
    c.mode = mode;
    all.push_back(c);
    c.is_static = 1;
    all.push_back(c);
  }
  return all;
}

TEST_F(FiniteDifferences, sinkhorn) {
  for (const mhc_config& config : conventions(3)) {
    Array logits = normal(2 * 9, 2);
    const Array d_out = normal(logits.size());
    expect_gradient(logits, oracle::sinkhorn_backward(config, logits, d_out, 3),
                    [&] { return dot(oracle::sinkhorn(config, logits, 3), d_out); }, "logits");
  }
}

TEST_F(FiniteDifferences, coefficients) {
  const Shape s{2, 3, 5};
  for (const mhc_config& config : conventions(3)) {
    oracle::Parameters p = random_parameters(config, s, true);
    Array x = normal(s.tokens * s.row());
    const Array d_pre = normal(6), d_post = normal(6), d_res = normal(18);
    const auto g = oracle::coefficients_backward(config, p, x, s, d_pre, d_post, d_res);
    auto objective = [&] {
      const auto c = oracle::coefficients(config, p, x, s);
      return dot(c.pre_mix, d_pre) + dot(c.post_mix, d_post) + dot(c.res_mix, d_res);
    };
    expect_gradient(x, g.d_x, objective, "x");
    expect_gradient(p.projection, g.d_parameters.projection, objective, "projection");
    expect_gradient(p.scale, g.d_parameters.scale, objective, "scale");
    expect_gradient(p.bias, g.d_parameters.bias, objective, "bias");
    expect_gradient(p.norm_weight, g.d_parameters.norm_weight, objective, "norm_weight");
  }
}

TEST_F(FiniteDifferences, boundary) {
  const Shape s{2, 3, 5};
  for (mhc_config config : conventions(3))
    for (int32_t shifted : {0, 1}) {
      config.shifted = shifted;
      oracle::Boundary b{config, random_parameters(config, s, true), s, oracle::Type::exact, oracle::Type::exact,
                         normal(30), normal(10), normal(6), normal(18), shifted ? normal(6) : Array{}, normal(5), 1e-2, {}, {}};
      const oracle::BoundaryCotangents d{normal(10), normal(30), shifted ? normal(6) : Array{}, normal(6), normal(18)};
      const auto g = oracle::boundary_backward(b, d);
      auto objective = [&] {
        const auto r = oracle::boundary(b);
        return dot(r.y, d.d_h) + dot(r.x_next, d.d_x_next) + dot(r.next.pre_mix, d.d_pre_mix_next) +
               dot(r.next.post_mix, d.d_post_mix_next) + dot(r.next.res_mix, d.d_res_mix_next);
      };
      expect_gradient(b.x, g.d_x, objective, "x");
      expect_gradient(b.f, g.d_f, objective, "f");
      expect_gradient(b.post_mix, g.d_post_mix, objective, "post_mix");
      expect_gradient(b.res_mix, g.d_res_mix, objective, "res_mix");
      if (shifted) expect_gradient(b.shifted_pre_mix, g.d_shifted_pre_mix, objective, "shifted_pre_mix");
      expect_gradient(b.norm_weight, g.d_norm_weight, objective, "norm_weight");
      expect_gradient(b.parameters.projection, g.d_parameters.projection, objective, "projection");
      expect_gradient(b.parameters.norm_weight, g.d_parameters.norm_weight, objective, "parameters.norm_weight");
    }
}

TEST_F(FiniteDifferences, head) {
  const Shape s{2, 3, 5};
  mhc_config outside = conventions(3).front();
  outside.rms_eps_mode = MHC_RMS_EPS_OUTSIDE;
  outside.rms_eps = 0.1f;
  oracle::Parameters p{normal(3 * 15, 0.3), normal(1), normal(3), {}};
  Array x = normal(30);
  const Array d_y = normal(10);
  for (const auto& [kind, config] : std::vector<std::pair<int32_t, mhc_config>>{{MHC_HEAD_WEIGHTED, conventions(3).front()},
                                                                                {MHC_HEAD_WEIGHTED, outside},
                                                                                {MHC_HEAD_MEAN, outside},
                                                                                {MHC_HEAD_SUM, outside}}) {
    const auto g = oracle::head_backward(config, kind, p, x, d_y, s);
    auto objective = [&, kind = kind, &config = config] { return dot(oracle::head(config, kind, p, x, s).y, d_y); };
    expect_gradient(x, g.d_x, objective, "x");
    expect_gradient(p.projection, g.d_parameters.projection, objective, "projection");
    expect_gradient(p.scale, g.d_parameters.scale, objective, "scale");
    expect_gradient(p.bias, g.d_parameters.bias, objective, "bias");
  }
}

TEST_F(FiniteDifferences, rmsnorm) {
  Array x = normal(12), weight = normal(6);
  const Array d_y = normal(12);
  const auto g = oracle::rmsnorm_backward(x, weight, d_y, 0.1, 6);
  auto objective = [&] { return dot(oracle::rmsnorm(x, weight, 0.1, 6).y, d_y); };
  expect_gradient(x, g.d_x, objective, "x");
  expect_gradient(weight, g.d_weight, objective, "weight");
}

// ------------------------------------------------------------------------------------------------------------ numbers

TEST(OracleNumbers, halfway_goes_to_even) {
  EXPECT_EQ(oracle::rounded(oracle::Type::bf16, 1 + 0x1p-8), 1);
  EXPECT_EQ(oracle::rounded(oracle::Type::bf16, 1 + 0x3p-8), 1 + 0x1p-6);
  EXPECT_EQ(oracle::rounded(oracle::Type::fp16, 65520), INFINITY);
  EXPECT_EQ(oracle::rounded(oracle::Type::fp16, 65519.99), 65504);
  EXPECT_EQ(oracle::rounded(oracle::Type::fp16, 0x1p-25), 0);
  EXPECT_EQ(oracle::rounded(oracle::Type::fp16, 0x3p-25), 0x1p-23);
  EXPECT_EQ(oracle::e4m3_value(oracle::e4m3_from(17)), 16);
  EXPECT_EQ(oracle::e4m3_value(oracle::e4m3_from(19)), 20);
  EXPECT_EQ(oracle::e4m3_value(oracle::e4m3_from(0x1p-10)), 0);
  EXPECT_EQ(oracle::e4m3_from(1e9), oracle::e4m3_from(448));
}

TEST(OracleNumbers, e4m3_comes_back) {
  for (int bits = 0; bits < 256; ++bits) EXPECT_EQ(oracle::e4m3_from(oracle::e4m3_value((uint8_t)bits)), bits);
}

TEST(OracleNumbers, doubly_stochastic_distance) {
  EXPECT_EQ(oracle::doubly_stochastic_distance({0.5, 0.5, 0.5, 0.5}, 1, 2), Array{0});
  EXPECT_EQ(oracle::doubly_stochastic_distance({1.5, -0.5, -0.5, 1.5}, 1, 2), Array{0.5});
  EXPECT_EQ(oracle::doubly_stochastic_distance({1, 0.25, 0, 1}, 1, 2), Array{0.25});
}

TEST(OracleNumbers, bottleneck) { EXPECT_EQ(oracle::bottleneck({0.9, 0.1, 0.3, 0.7}, 2), 0.7); }

}  // namespace
