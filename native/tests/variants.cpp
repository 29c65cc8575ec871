// SPDX-License-Identifier: Apache-2.0
#include "call.h"

namespace mhc_test {
namespace {

mhc_config mode(int32_t mode, bool is_static = false) {
  mhc_config config = preset(MHC_PRESET_PAPER, 4);
  config.mode = mode;
  config.is_static = is_static;
  return config;
}

Form with_config(const mhc_config& config) {
  Form s;
  s.config = config;
  s.streams = config.mode == MHC_MODE_MHC_LITE ? 3 : 4;
  return s;
}

// f in FP8, of two tiles.
Form with_fp8(Form form, int32_t rounding = MHC_FP8_SCALE_EXACT) {
  form.fp8_f = true;
  form.width = 140;
  form.rounding = rounding;
  return form;
}

// The configs under which coefficients come to be in different ways.
std::vector<std::pair<std::string, Form>> coefficient_forms() {
  std::vector<std::pair<std::string, Form>> all;
  const char* presets[] = {"paper", "deepseek_v4", "deepseek_v4_1", "megatron", "transformer_engine", "liger"};
  for (int32_t p = 0; p < 6; ++p) all.push_back({presets[p], with_config(preset(p, 4))});
  all.push_back({"residual", with_config(mode(MHC_MODE_RESIDUAL))});
  all.push_back({"hc", with_config(mode(MHC_MODE_HC))});
  all.push_back({"mhc_lite", with_config(mode(MHC_MODE_MHC_LITE))});
  all.push_back({"hc_static", with_config(mode(MHC_MODE_HC, true))});
  all.push_back({"mhc_static", with_config(mode(MHC_MODE_MHC, true))});
  all.push_back({"mhc_lite_static", with_config(mode(MHC_MODE_MHC_LITE, true))});
  all.push_back({"norm_weight", with_config(preset(MHC_PRESET_PAPER, 4))});
  all.back().second.norm_weight = true;
  return all;
}

void add_coefficients(std::vector<Variant>& all) {
  for (const auto& [name, form] : coefficient_forms()) {
    all.push_back({"coefficients_" + name, make_coefficients, form});
    all.push_back({"coefficients_backward_" + name, make_coefficients_backward, form});
    all.push_back({"boundary_" + name, make_boundary, form});
    all.push_back({"boundary_backward_" + name, make_boundary_backward, form});
  }
}

void add_boundaries(std::vector<Variant>& all) {
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4_1}) {
    const std::string shifted = p == MHC_PRESET_DEEPSEEK_V4_1 ? "shifted_" : "";
    Form s = with_config(preset(p, 4));
    s.first = true;
    all.push_back({"boundary_" + shifted + "first", make_boundary, s});
    all.push_back({"boundary_backward_" + shifted + "first", make_boundary_backward, s});
    s.first = false;
    s.norm = true;
    all.push_back({"boundary_backward_" + shifted + "norm", make_boundary_backward, s});
    s.width = 140;
    s.fp8 = true;
    all.push_back({"boundary_" + shifted + "norm_fp8", make_boundary, s});
    s.norm = false;
    s.rounding = MHC_FP8_SCALE_POWER_OF_TWO;
    all.push_back({"boundary_" + shifted + "fp8_power_of_two", make_boundary, s});
    s = with_config(preset(p, 4));
    all.push_back({shifted + "recompute", make_recompute, s});
    all.push_back({"boundary_" + shifted + "fp8_f", make_boundary, with_fp8(s)});
    all.push_back({"boundary_backward_" + shifted + "fp8_f", make_boundary_backward, with_fp8(s, MHC_FP8_SCALE_POWER_OF_TWO)});
    all.push_back({shifted + "recompute_fp8_f", make_recompute, with_fp8(s, MHC_FP8_SCALE_POWER_OF_TWO)});
  }
  all.push_back({"recompute_norm_weight", make_recompute, with_config(preset(MHC_PRESET_PAPER, 4))});
  all.back().form.norm_weight = true;
  all.push_back({"recompute_static", make_recompute, with_config(mode(MHC_MODE_MHC, true))});
  all.push_back({"recompute_residual", make_recompute, with_config(mode(MHC_MODE_RESIDUAL))});
}

void add_layer_operations(std::vector<Variant>& all) {
  Form s;
  for (int32_t orientation : {MHC_OUT_IN, MHC_IN_OUT}) {
    s.orientation = orientation;
    const std::string name = orientation == MHC_OUT_IN ? "" : "_in_out";
    all.push_back({"post" + name, make_post, s});
    all.push_back({"post_backward" + name, make_post_backward, s});
    all.push_back({"post_fp8_f" + name, make_post, with_fp8(s, MHC_FP8_SCALE_POWER_OF_TWO)});
    all.push_back({"post_backward_fp8_f" + name, make_post_backward, with_fp8(s)});
    all.push_back({"gain" + name, make_gain, s});
  }
  all.push_back({"pre", make_pre, s});
  all.push_back({"pre_backward", make_pre_backward, s});
  all.push_back({"expand", make_expand, s});
  all.push_back({"expand_backward", make_expand_backward, s});
  const char* kinds[] = {"weighted", "mean", "sum"};
  for (int32_t kind = 0; kind < 3; ++kind) {
    s.kind = kind;
    all.push_back({std::string("head_") + kinds[kind], make_head, s});
    all.push_back({std::string("head_backward_") + kinds[kind], make_head_backward, s});
  }
  for (bool weight : {false, true}) {
    s.norm_weight = weight;
    all.push_back({weight ? "rmsnorm_weight" : "rmsnorm", make_rmsnorm, s});
    all.push_back({weight ? "rmsnorm_backward_weight" : "rmsnorm_backward", make_rmsnorm_backward, s});
  }
}

void add_matrices(std::vector<Variant>& all) {
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE}) {
    for (int32_t k : {4, 17}) {
      Form s;
      s.config = preset(p, 4);
      s.streams = k;
      const std::string name = "_preset" + std::to_string(p) + "_" + std::to_string(k);
      all.push_back({"sinkhorn" + name, make_sinkhorn, s});
      all.push_back({"sinkhorn_backward" + name, make_sinkhorn_backward, s});
    }
  }
  all.push_back({"doubly_stochastic_distance", make_doubly_stochastic_distance, Form{}});
  all.push_back({"birkhoff", make_birkhoff, Form{}});
}

void add_fp8(std::vector<Variant>& all) {
  Form s;
  s.width = 140;
  for (int32_t tile : {MHC_FP8_TILE_1X128, MHC_FP8_TILE_128X128})
    for (int32_t rounding : {MHC_FP8_SCALE_EXACT, MHC_FP8_SCALE_POWER_OF_TWO}) {
      s.tile = tile;
      s.rounding = rounding;
      const std::string name = std::string(tile == MHC_FP8_TILE_1X128 ? "_row" : "_square") + (rounding ? "_power_of_two" : "");
      all.push_back({"fp8_quantize" + name, make_fp8_quantize, s});
      all.push_back({"fp8_dequantize" + name, make_fp8_dequantize, s});
    }
}

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = [] {
    std::vector<Variant> list;
    add_coefficients(list);
    add_boundaries(list);
    add_layer_operations(list);
    add_matrices(list);
    add_fp8(list);
    return list;
  }();
  return all;
}

}  // namespace mhc_test
