// SPDX-License-Identifier: Apache-2.0
#include "core/config.h"

#include <iterator>

#include "core/error.h"

namespace mhc {
namespace {

// Programs hold it by value, and mhc_config_init fills it without knowing of which version their header was.
static_assert(sizeof(mhc_config) == 128);

constexpr int kMaxStreams = 16, kMaxStreamsLite = 5;

int64_t factorial(int64_t n) { return n <= 1 ? 1 : n * factorial(n - 1); }

bool copy_block(Arguments& arguments, const mhc_config* given, mhc_config* config) {
  if (!arguments.good()) return false;
  if (!given) {
    arguments.fault("config is NULL; expected an mhc_config filled by mhc_config_init");
    return false;
  }
  if (given->struct_size < sizeof(mhc_config)) {
    arguments.fault("config.struct_size is %zu; expected %zu", given->struct_size, sizeof(mhc_config));
    return false;
  }
  for (size_t i = 0; i < std::size(given->reserved); i++) {
    if (given->reserved[i] != 0) arguments.fault("config.reserved[%zu] is %d; expected 0", i, given->reserved[i]);
  }
  *config = *given;
  return arguments.good();
}

void check_sinkhorn(Arguments& arguments, const mhc_config& config) {
  arguments.in_range("config.iterations", config.iterations, 1, 1000);
  arguments.in_range("config.sinkhorn_start", config.sinkhorn_start, 0, MHC_SINKHORN_SOFTMAX_PLUS_EPS);
  arguments.in_range("config.sinkhorn_order", config.sinkhorn_order, 0, MHC_SINKHORN_ROWS_FIRST);
  arguments.in_range("config.sinkhorn_eps_mode", config.sinkhorn_eps_mode, 0, MHC_EPS_CLAMP);
  arguments.number("config.sinkhorn_eps", config.sinkhorn_eps, 0.0f, false);
}

void check_head(Arguments& arguments, const mhc_config& config) {
  arguments.in_range("config.rms_eps_mode", config.rms_eps_mode, 0, MHC_RMS_EPS_OUTSIDE);
  arguments.number("config.rms_eps", config.rms_eps, 0.0f, false);
  arguments.number("config.pre_eps", config.pre_eps, 0.0f, false);
}

}  // namespace

int64_t mix_count_of(const mhc_config& config) {
  int64_t n = config.streams;
  if (config.mode == MHC_MODE_RESIDUAL) return 0;
  return 2 * n + (config.mode == MHC_MODE_MHC_LITE ? factorial(n) : n * n);
}

void read_sinkhorn_config(Arguments& arguments, const mhc_config* given, mhc_config* config) {
  if (copy_block(arguments, given, config)) check_sinkhorn(arguments, *config);
}

void read_head_config(Arguments& arguments, const mhc_config* given, mhc_config* config) {
  if (copy_block(arguments, given, config)) check_head(arguments, *config);
}

void read_config(Arguments& arguments, const mhc_config* given, mhc_config* config) {
  if (!copy_block(arguments, given, config)) return;
  arguments.in_range("config.streams", config->streams, 1, kMaxStreams);
  arguments.in_range("config.mode", config->mode, 0, MHC_MODE_MHC_LITE);
  if (config->mode == MHC_MODE_MHC_LITE && config->streams > kMaxStreamsLite) {
    arguments.fault("config.streams is %d; expected 1 to %d with MHC_MODE_MHC_LITE, which has streams! logits",
                    config->streams, kMaxStreamsLite);
  }
  arguments.in_range("config.is_static", config->is_static, 0, 1);
  arguments.in_range("config.shifted", config->shifted, 0, 1);
  arguments.in_range("config.orientation", config->orientation, 0, MHC_IN_OUT);
  arguments.number("config.post_multiplier", config->post_multiplier, 0.0f, true);
  arguments.in_range("config.projection_precision", config->projection_precision, 0, MHC_PROJECTION_TF32);
  check_sinkhorn(arguments, *config);
  check_head(arguments, *config);
}

}  // namespace mhc

mhc_status mhc_config_init(mhc_config* config, int32_t preset, int32_t streams) {
  using namespace mhc;
  if (!config) return fail(MHC_INVALID_ARGUMENT, "mhc_config_init: config is NULL; expected an mhc_config to fill");
  if (streams < 1 || streams > kMaxStreams) {
    return fail(MHC_INVALID_ARGUMENT, "mhc_config_init: streams is %d; expected 1 to %d", streams, kMaxStreams);
  }
  mhc_config paper = {};
  paper.struct_size = sizeof paper;
  paper.streams = streams;
  paper.mode = MHC_MODE_MHC;
  paper.iterations = 20;
  paper.sinkhorn_start = MHC_SINKHORN_EXP;
  paper.sinkhorn_order = MHC_SINKHORN_COLUMNS_FIRST;
  paper.sinkhorn_eps_mode = MHC_EPS_NONE;
  paper.orientation = MHC_OUT_IN;
  paper.rms_eps_mode = MHC_RMS_EPS_INSIDE;
  paper.rms_eps = 1e-20f;
  paper.post_multiplier = 2.0f;

  mhc_config deepseek = paper;
  deepseek.sinkhorn_start = MHC_SINKHORN_SOFTMAX_PLUS_EPS;
  deepseek.sinkhorn_order = MHC_SINKHORN_ROWS_FIRST;
  deepseek.sinkhorn_eps_mode = MHC_EPS_ADD;
  deepseek.sinkhorn_eps = 1e-6f;
  deepseek.orientation = MHC_IN_OUT;
  deepseek.rms_eps = 1e-6f;
  deepseek.pre_eps = 1e-6f;

  mhc_config result = paper;
  switch (preset) {
    case MHC_PRESET_PAPER: break;
    case MHC_PRESET_DEEPSEEK_V4: result = deepseek; break;
    case MHC_PRESET_DEEPSEEK_V4_1:
      result = deepseek;
      result.rms_eps = 1e-20f;
      result.shifted = 1;
      break;
    case MHC_PRESET_MEGATRON:
      result.sinkhorn_start = MHC_SINKHORN_EXP_MINUS_ROW_MAX;
      result.sinkhorn_order = MHC_SINKHORN_ROWS_FIRST;
      result.sinkhorn_eps_mode = MHC_EPS_CLAMP;
      result.sinkhorn_eps = 1e-6f;
      result.rms_eps_mode = MHC_RMS_EPS_OUTSIDE;
      result.rms_eps = 1e-6f;
      break;
    case MHC_PRESET_TRANSFORMER_ENGINE:
      result.sinkhorn_order = MHC_SINKHORN_ROWS_FIRST;
      result.orientation = MHC_IN_OUT;
      result.rms_eps = 0x1p-23f;
      break;
    case MHC_PRESET_LIGER:
      result = deepseek;
      result.orientation = MHC_OUT_IN;
      result.pre_eps = 0.0f;
      break;
    default:
      return fail(MHC_INVALID_ARGUMENT, "mhc_config_init: preset is %d; expected %d to %d", preset, MHC_PRESET_PAPER,
                  MHC_PRESET_LIGER);
  }
  *config = result;
  return MHC_OK;
}

mhc_status mhc_config_mix_count(const mhc_config* config, int64_t* mix_count) {
  mhc::Arguments arguments("mhc_config_mix_count", {MHC_DEVICE_CPU, 0}, true);
  mhc_config checked;
  mhc::read_config(arguments, config, &checked);
  if (!mix_count) arguments.fault("mix_count is NULL; expected a place for the result");
  if (arguments.good()) *mix_count = mhc::mix_count_of(checked);
  return arguments.status();
}
