// SPDX-License-Identifier: Apache-2.0
#include "core/read_arguments.h"

#include <algorithm>

#include "core/config.h"

namespace mhc {
namespace {

// The dimensions of the layer operations, by the names that messages use.
struct Dims {
  Dim tokens{"tokens"}, streams{"streams"}, width{"width"};

  Sizes sizes(int64_t mix_count = 0) const {
    return {tokens.value, static_cast<int>(streams.value), width.value, mix_count};
  }
};

constexpr int kMaxStreams = 16;

void check_sizes(Arguments& a, const Dims& dims) {
  if (!a.good()) return;
  if (dims.streams.value > kMaxStreams || dims.streams.value == 0) {
    a.fault("streams, the second dimension of x, is %lld; expected 1 to %d", static_cast<long long>(dims.streams.value),
            kMaxStreams);
  }
  if (dims.width.value == 0) a.fault("width is 0; expected at least 1");
}

void check_accumulate(Arguments& a, int32_t accumulate) {
  a.in_range("accumulate", accumulate, 0, MHC_ACCUMULATE_PARAMETERS | MHC_ACCUMULATE_INPUTS);
}
bool to_inputs(int32_t accumulate) { return accumulate & MHC_ACCUMULATE_INPUTS; }
bool to_parameters(int32_t accumulate) { return accumulate & MHC_ACCUMULATE_PARAMETERS; }

bool dynamic(const mhc_config& c) { return c.mode != MHC_MODE_RESIDUAL && !c.is_static; }

void read_parameters(Arguments& a, const mhc_config& config, const mhc_parameters& given, Dims& d,
                     ParameterViews* views) {
  if (!a.good() || config.mode == MHC_MODE_RESIDUAL) return;
  int64_t m = mix_count_of(config), row = config.streams * d.width.value;
  if (!config.is_static) {
    views->projection = a.in("parameters.projection", given.projection, {m, row}, Types::F32);
    views->scale = a.in("parameters.scale", given.scale, {3}, Types::F32);
    views->norm_weight = a.in("parameters.norm_weight", given.norm_weight, {row}, Types::F32, Need::Optional);
  }
  views->bias = a.in("parameters.bias", given.bias, {m}, Types::F32);
}

void read_gradients(Arguments& a, const mhc_config& config, const mhc_parameter_gradients& given,
                    const ParameterViews& parameters, Dims& d, ParameterViews* views) {
  if (!a.good()) return;
  if (config.mode == MHC_MODE_RESIDUAL) {
    a.absent("d_parameters.bias", given.bias, "MHC_MODE_RESIDUAL has no parameters");
  }
  if (!dynamic(config)) {
    const char* why = "these coefficients do not depend on x";
    a.absent("d_parameters.projection", given.projection, why);
    a.absent("d_parameters.scale", given.scale, why);
    a.absent("d_parameters.norm_weight", given.norm_weight, why);
  }
  if (!parameters.norm_weight) {
    a.absent("d_parameters.norm_weight", given.norm_weight, "parameters.norm_weight is not given");
  }
  int64_t m = mix_count_of(config), row = config.streams * d.width.value;
  views->projection = a.out("d_parameters.projection", given.projection, {m, row}, Types::F32, Need::Optional);
  views->scale = a.out("d_parameters.scale", given.scale, {3}, Types::F32, Need::Optional);
  views->bias = a.out("d_parameters.bias", given.bias, {m}, Types::F32, Need::Optional);
  views->norm_weight = a.out("d_parameters.norm_weight", given.norm_weight, {row}, Types::F32, Need::Optional);
}

// prefix is "out." or "next.", with literal names so that nothing is formatted on the way.
struct CoefficientNames {
  const char *pre_mix, *post_mix, *res_mix, *mix, *inv_rms;
};
constexpr CoefficientNames kOut = {"out.pre_mix", "out.post_mix", "out.res_mix", "out.mix", "out.inv_rms"};
constexpr CoefficientNames kNext = {"next.pre_mix", "next.post_mix", "next.res_mix", "next.mix", "next.inv_rms"};
constexpr CoefficientNames kLayerOut = {"layer.out.pre_mix", "layer.out.post_mix", "layer.out.res_mix",
                                        "layer.out.mix", "layer.out.inv_rms"};

void read_coefficients(Arguments& a, const CoefficientNames& names, const mhc_config& config,
                       const mhc_coefficient_set& given, Dims& d, CoefficientViews* views) {
  if (!a.good()) return;
  int n = config.streams;
  if (!dynamic(config)) {
    a.absent(names.mix, given.mix, "these coefficients do not depend on x");
    a.absent(names.inv_rms, given.inv_rms, "these coefficients do not depend on x");
  }
  views->pre_mix = a.out(names.pre_mix, given.pre_mix, {d.tokens, n}, Types::F32);
  views->post_mix = a.out(names.post_mix, given.post_mix, {d.tokens, n}, Types::F32);
  views->res_mix = a.out(names.res_mix, given.res_mix, {d.tokens, n, n}, Types::F32);
  views->mix = a.out(names.mix, given.mix, {d.tokens, mix_count_of(config)}, Types::F32, Need::Optional);
  views->inv_rms = a.out(names.inv_rms, given.inv_rms, {d.tokens}, Types::F32, Need::Optional);
}

// The saved values that a backward of dynamic coefficients wants.
void read_saved(Arguments& a, const mhc_config& config, const mhc_tensor* mix, const mhc_tensor* inv_rms, Dims& d,
                View* mix_view, View* inv_rms_view) {
  if (!a.good() || !dynamic(config)) return;
  *mix_view = a.in("mix", mix, {d.tokens, mix_count_of(config)}, Types::F32);
  *inv_rms_view = a.in("inv_rms", inv_rms, {d.tokens}, Types::F32);
}

View read_streams(Arguments& a, const char* name, const mhc_tensor* given, const mhc_config& config, Dims& d) {
  if (!a.good()) return View{};
  d.streams.value = config.streams;
  View view = a.in(name, given, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  return view;
}

// F's output: a layer tensor, or E4M3 with the scales of its 1x128 tiles.
void read_layer_output(Arguments& a, const char* name, const mhc_tensor* given, const mhc_tensor* scale, Need need,
                       const View& x, Dims& d, View* f, View* f_scale) {
  *f = a.in(name, given, {d.tokens, d.width}, Types::RowOrE4M3, need);
  if (!a.good()) return;
  if (*f && f->type == DType::E4M3) {
    int64_t tiles = (d.width.value + 127) / 128;
    *f_scale = a.in("f_scale", scale, {d.tokens, tiles}, Types::Scale, Need::Required, LastDim::AnyStride);
    return;
  }
  a.absent("f_scale", scale, *f ? "f is not float8_e4m3fn" : "there is no f");
  a.row_types("x", x, name, *f);
}

// other has the type of f, unless that is FP8.
void same_type_as_f(Arguments& a, const View& f, const char* other_name, const View& other) {
  if (f.type != DType::E4M3) a.same_type("f", f, other_name, other);
}

}  // namespace

void read_arguments(Arguments& a, const mhc_coefficients_args& args, CoefficientsProblem* p) {
  Dims d;
  read_config(a, args.config, &p->config);
  p->x = read_streams(a, "x", args.x, p->config, d);
  read_parameters(a, p->config, args.parameters, d, &p->parameters);
  read_coefficients(a, kOut, p->config, args.out, d, &p->out);
  a.no_overlap();
  p->sizes = d.sizes(mix_count_of(p->config));
}

void read_arguments(Arguments& a, const mhc_coefficients_backward_args& args, CoefficientsBackwardProblem* p) {
  Dims d;
  read_config(a, args.config, &p->config);
  check_accumulate(a, args.accumulate);
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->accumulate_parameters = to_parameters(args.accumulate);
  p->x = read_streams(a, "x", args.x, p->config, d);
  read_parameters(a, p->config, args.parameters, d, &p->parameters);
  read_saved(a, p->config, args.mix, args.inv_rms, d, &p->mix, &p->inv_rms);
  int n = p->config.streams;
  p->d_pre_mix = a.in("d_pre_mix", args.d_pre_mix, {d.tokens, n}, Types::F32, Need::Optional);
  p->d_post_mix = a.in("d_post_mix", args.d_post_mix, {d.tokens, n}, Types::F32, Need::Optional);
  p->d_res_mix = a.in("d_res_mix", args.d_res_mix, {d.tokens, n, n}, Types::F32, Need::Optional);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, n, d.width}, Types::Row, Need::Optional);
  a.same_type("x", p->x, "d_x", p->d_x);
  read_gradients(a, p->config, args.d_parameters, p->parameters, d, &p->d_parameters);
  a.no_overlap();
  p->sizes = d.sizes(mix_count_of(p->config));
}

void read_arguments(Arguments& a, const mhc_sinkhorn_args& args, SinkhornProblem* p) {
  Dim batch{"batch"}, size{"size"};
  read_sinkhorn_config(a, args.config, &p->config);
  p->logits = a.in("logits", args.logits, {batch, size, size}, Types::F32);
  if (a.good() && size.value == 0) a.fault("logits.shape has size 0; expected matrices of at least 1 x 1");
  p->out = a.out("out", args.out, {batch, size, size}, Types::F32);
  a.no_overlap();
  p->batch = batch.value;
  p->size = size.value;
}

void read_arguments(Arguments& a, const mhc_sinkhorn_backward_args& args, SinkhornBackwardProblem* p) {
  Dim batch{"batch"}, size{"size"};
  read_sinkhorn_config(a, args.config, &p->config);
  a.in_range("accumulate", args.accumulate, 0, MHC_ACCUMULATE_PARAMETERS | MHC_ACCUMULATE_INPUTS);
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->logits = a.in("logits", args.logits, {batch, size, size}, Types::F32);
  if (a.good() && size.value == 0) a.fault("logits.shape has size 0; expected matrices of at least 1 x 1");
  p->d_out = a.in("d_out", args.d_out, {batch, size, size}, Types::F32);
  p->d_logits = a.out("d_logits", args.d_logits, {batch, size, size}, Types::F32);
  a.no_overlap();
  p->batch = batch.value;
  p->size = size.value;
}

void read_arguments(Arguments& a, const mhc_pre_args& args, PreProblem* p) {
  Dims d;
  p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->pre_mix = a.in("pre_mix", args.pre_mix, {d.tokens, d.streams}, Types::F32);
  p->h = a.out("h", args.h, {d.tokens, d.width}, Types::Row);
  a.row_types("x", p->x, "h", p->h);
  a.no_overlap();
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_pre_backward_args& args, PreBackwardProblem* p) {
  Dims d;
  check_accumulate(a, args.accumulate);
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->pre_mix = a.in("pre_mix", args.pre_mix, {d.tokens, d.streams}, Types::F32);
  p->d_h = a.in("d_h", args.d_h, {d.tokens, d.width}, Types::Row);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, d.streams, d.width}, Types::Row, Need::Optional);
  p->d_pre_mix = a.out("d_pre_mix", args.d_pre_mix, {d.tokens, d.streams}, Types::F32, Need::Optional);
  a.row_types("x", p->x, "d_h", p->d_h);
  a.same_type("x", p->x, "d_x", p->d_x);
  a.no_overlap();
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_post_args& args, PostProblem* p) {
  Dims d;
  a.in_range("orientation", args.orientation, 0, MHC_IN_OUT);
  p->orientation = args.orientation;
  p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  read_layer_output(a, "f", args.f, args.f_scale, Need::Required, p->x, d, &p->f, &p->f_scale);
  p->post_mix = a.in("post_mix", args.post_mix, {d.tokens, d.streams}, Types::F32);
  p->res_mix = a.in("res_mix", args.res_mix, {d.tokens, d.streams, d.streams}, Types::F32);
  p->x_next = a.out("x_next", args.x_next, {d.tokens, d.streams, d.width}, Types::Row);
  a.same_type("x", p->x, "x_next", p->x_next);
  a.no_overlap("x_next", "x");
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_post_backward_args& args, PostBackwardProblem* p) {
  Dims d;
  a.in_range("orientation", args.orientation, 0, MHC_IN_OUT);
  check_accumulate(a, args.accumulate);
  p->orientation = args.orientation;
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  read_layer_output(a, "f", args.f, args.f_scale, Need::Required, p->x, d, &p->f, &p->f_scale);
  p->post_mix = a.in("post_mix", args.post_mix, {d.tokens, d.streams}, Types::F32);
  p->res_mix = a.in("res_mix", args.res_mix, {d.tokens, d.streams, d.streams}, Types::F32);
  p->d_x_next = a.in("d_x_next", args.d_x_next, {d.tokens, d.streams, d.width}, Types::Row);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, d.streams, d.width}, Types::Row, Need::Optional);
  p->d_f = a.out("d_f", args.d_f, {d.tokens, d.width}, Types::Row, Need::Optional);
  p->d_post_mix = a.out("d_post_mix", args.d_post_mix, {d.tokens, d.streams}, Types::F32, Need::Optional);
  p->d_res_mix = a.out("d_res_mix", args.d_res_mix, {d.tokens, d.streams, d.streams}, Types::F32, Need::Optional);
  a.same_type("x", p->x, "d_x_next", p->d_x_next);
  a.same_type("x", p->x, "d_x", p->d_x);
  same_type_as_f(a, p->f, "d_f", p->d_f);
  a.row_types("x", p->x, "d_f", p->d_f);
  a.no_overlap("d_x", "d_x_next");
  p->layer_type = p->f.type != DType::E4M3 ? p->f.type : p->d_f ? p->d_f.type : p->x.type;
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_boundary_args& args, BoundaryProblem* p) {
  Dims d;
  read_config(a, args.config, &p->config);
  p->x = read_streams(a, "x", args.x, p->config, d);
  int n = p->config.streams;
  read_layer_output(a, "f", args.f, args.f_scale, Need::Optional, p->x, d, &p->f, &p->f_scale);
  if (a.good() && !args.f) {
    const char* why = "without f there is no post";
    a.absent("post_mix", args.post_mix, why);
    a.absent("res_mix", args.res_mix, why);
    a.absent("x_next", args.x_next, why);
  } else {
    p->post_mix = a.in("post_mix", args.post_mix, {d.tokens, n}, Types::F32);
    p->res_mix = a.in("res_mix", args.res_mix, {d.tokens, n, n}, Types::F32);
    p->x_next = a.out("x_next", args.x_next, {d.tokens, n, d.width}, Types::Row);
    a.same_type("x", p->x, "x_next", p->x_next);
  }
  if (p->config.shifted) {
    p->shifted_pre_mix = a.in("shifted_pre_mix", args.shifted_pre_mix, {d.tokens, n}, Types::F32);
  } else {
    a.absent("shifted_pre_mix", args.shifted_pre_mix, "config.shifted is 0");
  }
  read_parameters(a, p->config, args.parameters, d, &p->parameters);
  read_coefficients(a, kNext, p->config, args.next, d, &p->next);
  p->h = a.out("h", args.h, {d.tokens, d.width}, Types::Row, Need::Optional);
  p->norm_weight = a.in("norm_weight", args.norm_weight, {d.width}, Types::F32, Need::Optional);
  a.number("norm_eps", args.norm_eps, 0.0f, false);
  a.in_range("fp8_scale_rounding", args.fp8_scale_rounding, 0, MHC_FP8_SCALE_POWER_OF_TWO);
  if (!args.norm_weight) a.absent("y", args.y, "norm_weight is not given");
  p->y = a.out("y", args.y, {d.tokens, d.width}, Types::Row, Need::Optional);
  p->h_fp8 = a.out("h_fp8", args.h_fp8, {d.tokens, d.width}, Types::E4M3, Need::Optional);
  if (a.good() && !args.h_fp8) {
    a.absent("h_scale", args.h_scale, "h_fp8 is not given");
  } else {
    int64_t tiles = (d.width.value + 127) / 128;
    Types type = args.fp8_scale_rounding == MHC_FP8_SCALE_POWER_OF_TWO ? Types::Scale : Types::F32;
    p->h_scale = a.out("h_scale", args.h_scale, {d.tokens, tiles}, type, Need::Required, LastDim::AnyStride);
  }
  if (a.good() && !p->h && !p->y && !p->h_fp8) a.fault("h, y and h_fp8 are all NULL; expected at least one of them");
  a.row_types("x", p->x, "h", p->h);
  a.row_types("x", p->x, "y", p->y);
  same_type_as_f(a, p->f, "h", p->h);
  same_type_as_f(a, p->f, "y", p->y);
  a.same_type("h", p->h, "y", p->y);
  a.no_overlap("x_next", "x");
  p->norm_eps = args.norm_eps;
  p->fp8_scale_rounding = args.fp8_scale_rounding;
  p->layer_type = p->f && p->f.type != DType::E4M3 ? p->f.type : p->h ? p->h.type : p->y ? p->y.type : p->x.type;
  p->sizes = d.sizes(mix_count_of(p->config));
}

void read_arguments(Arguments& a, const mhc_boundary_backward_args& args, BoundaryBackwardProblem* p) {
  Dims d;
  read_config(a, args.config, &p->config);
  check_accumulate(a, args.accumulate);
  a.number("norm_eps", args.norm_eps, 0.0f, false);
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->accumulate_parameters = to_parameters(args.accumulate);
  p->norm_eps = args.norm_eps;
  p->x = read_streams(a, "x", args.x, p->config, d);
  int n = p->config.streams;
  read_layer_output(a, "f", args.f, args.f_scale, Need::Optional, p->x, d, &p->f, &p->f_scale);
  if (a.good() && !args.f) {
    const char* why = "without f there is no post";
    a.absent("post_mix", args.post_mix, why);
    a.absent("res_mix", args.res_mix, why);
    a.absent("d_f", args.d_f, why);
    a.absent("d_post_mix", args.d_post_mix, why);
    a.absent("d_res_mix", args.d_res_mix, why);
  } else {
    p->post_mix = a.in("post_mix", args.post_mix, {d.tokens, n}, Types::F32);
    p->res_mix = a.in("res_mix", args.res_mix, {d.tokens, n, n}, Types::F32);
    p->d_f = a.out("d_f", args.d_f, {d.tokens, d.width}, Types::Row);
    p->d_post_mix = a.out("d_post_mix", args.d_post_mix, {d.tokens, n}, Types::F32);
    p->d_res_mix = a.out("d_res_mix", args.d_res_mix, {d.tokens, n, n}, Types::F32);
    same_type_as_f(a, p->f, "d_f", p->d_f);
  }
  if (p->config.shifted) {
    p->shifted_pre_mix = a.in("shifted_pre_mix", args.shifted_pre_mix, {d.tokens, n}, Types::F32);
    p->d_pre_mix_next = a.in("d_pre_mix_next", args.d_pre_mix_next, {d.tokens, n}, Types::F32, Need::Optional);
    p->d_shifted_pre_mix =
        a.out("d_shifted_pre_mix", args.d_shifted_pre_mix, {d.tokens, n}, Types::F32, Need::Optional);
  } else {
    a.absent("shifted_pre_mix", args.shifted_pre_mix, "config.shifted is 0");
    a.absent("d_pre_mix_next", args.d_pre_mix_next, "config.shifted is 0");
    a.absent("d_shifted_pre_mix", args.d_shifted_pre_mix, "config.shifted is 0");
  }
  read_parameters(a, p->config, args.parameters, d, &p->parameters);
  read_saved(a, p->config, args.mix, args.inv_rms, d, &p->mix, &p->inv_rms);
  p->norm_weight = a.in("norm_weight", args.norm_weight, {d.width}, Types::F32, Need::Optional);
  if (!args.norm_weight) a.absent("d_norm_weight", args.d_norm_weight, "norm_weight is not given");
  p->d_norm_weight = a.out("d_norm_weight", args.d_norm_weight, {d.width}, Types::F32, Need::Optional);
  p->d_h = a.in("d_h", args.d_h, {d.tokens, d.width}, Types::Row);
  p->d_x_next = a.in("d_x_next", args.d_x_next, {d.tokens, n, d.width}, Types::Row, Need::Optional);
  p->d_post_mix_next = a.in("d_post_mix_next", args.d_post_mix_next, {d.tokens, n}, Types::F32, Need::Optional);
  p->d_res_mix_next = a.in("d_res_mix_next", args.d_res_mix_next, {d.tokens, n, n}, Types::F32, Need::Optional);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, n, d.width}, Types::Row);
  a.row_types("x", p->x, "d_h", p->d_h);
  same_type_as_f(a, p->f, "d_h", p->d_h);
  a.same_type("d_h", p->d_h, "d_f", p->d_f);
  a.same_type("x", p->x, "d_x_next", p->d_x_next);
  a.same_type("x", p->x, "d_x", p->d_x);
  read_gradients(a, p->config, args.d_parameters, p->parameters, d, &p->d_parameters);
  a.no_overlap("d_x", "d_x_next");
  p->sizes = d.sizes(mix_count_of(p->config));
}

void read_arguments(Arguments& a, const mhc_expand_args& args, ExpandProblem* p) {
  Dims d;
  p->x = a.out("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->embedding = a.in("embedding", args.embedding, {d.tokens, d.width}, Types::Row);
  a.row_types("x", p->x, "embedding", p->embedding);
  a.no_overlap();
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_expand_backward_args& args, ExpandBackwardProblem* p) {
  Dims d;
  check_accumulate(a, args.accumulate);
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->d_x = a.in("d_x", args.d_x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->d_embedding = a.out("d_embedding", args.d_embedding, {d.tokens, d.width}, Types::Row);
  a.row_types("d_x", p->d_x, "d_embedding", p->d_embedding);
  a.no_overlap();
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_head_args& args, HeadProblem* p) {
  Dims d;
  a.in_range("kind", args.kind, 0, MHC_HEAD_SUM);
  p->kind = args.kind;
  p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->y = a.out("y", args.y, {d.tokens, d.width}, Types::Row);
  a.row_types("x", p->x, "y", p->y);
  if (a.good() && args.kind == MHC_HEAD_WEIGHTED) {
    read_head_config(a, args.config, &p->config);
    p->projection = a.in("projection", args.projection, {d.streams, d.streams.value * d.width.value}, Types::F32);
    p->scale = a.in("scale", args.scale, {1}, Types::F32);
    p->bias = a.in("bias", args.bias, {d.streams}, Types::F32);
    p->mix = a.out("mix", args.mix, {d.tokens, d.streams}, Types::F32, Need::Optional);
    p->inv_rms = a.out("inv_rms", args.inv_rms, {d.tokens}, Types::F32, Need::Optional);
  } else {
    a.absent("mix", args.mix, "only MHC_HEAD_WEIGHTED has it");
    a.absent("inv_rms", args.inv_rms, "only MHC_HEAD_WEIGHTED has it");
  }
  a.no_overlap();
  p->sizes = d.sizes(d.streams.value);
}

void read_arguments(Arguments& a, const mhc_head_backward_args& args, HeadBackwardProblem* p) {
  Dims d;
  a.in_range("kind", args.kind, 0, MHC_HEAD_SUM);
  check_accumulate(a, args.accumulate);
  p->kind = args.kind;
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->accumulate_parameters = to_parameters(args.accumulate);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, d.streams, d.width}, Types::Row);
  check_sizes(a, d);
  p->d_y = a.in("d_y", args.d_y, {d.tokens, d.width}, Types::Row);
  a.row_types("d_x", p->d_x, "d_y", p->d_y);
  if (a.good() && args.kind == MHC_HEAD_WEIGHTED) {
    int64_t row = d.streams.value * d.width.value;
    read_head_config(a, args.config, &p->config);
    p->x = a.in("x", args.x, {d.tokens, d.streams, d.width}, Types::Row);
    a.same_type("x", p->x, "d_x", p->d_x);
    p->projection = a.in("projection", args.projection, {d.streams, row}, Types::F32);
    p->scale = a.in("scale", args.scale, {1}, Types::F32);
    p->bias = a.in("bias", args.bias, {d.streams}, Types::F32);
    p->mix = a.in("mix", args.mix, {d.tokens, d.streams}, Types::F32);
    p->inv_rms = a.in("inv_rms", args.inv_rms, {d.tokens}, Types::F32);
    p->d_projection = a.out("d_projection", args.d_projection, {d.streams, row}, Types::F32, Need::Optional);
    p->d_scale = a.out("d_scale", args.d_scale, {1}, Types::F32, Need::Optional);
    p->d_bias = a.out("d_bias", args.d_bias, {d.streams}, Types::F32, Need::Optional);
  } else {
    const char* why = "only MHC_HEAD_WEIGHTED has parameters";
    a.absent("d_projection", args.d_projection, why);
    a.absent("d_scale", args.d_scale, why);
    a.absent("d_bias", args.d_bias, why);
  }
  a.no_overlap();
  p->sizes = d.sizes(d.streams.value);
}

void read_arguments(Arguments& a, const mhc_rmsnorm_args& args, RmsnormProblem* p) {
  Dims d;
  a.number("eps", args.eps, 0.0f, false);
  p->eps = args.eps;
  p->x = a.in("x", args.x, {d.tokens, d.width}, Types::Row);
  if (a.good() && d.width.value == 0) a.fault("width is 0; expected at least 1");
  p->weight = a.in("weight", args.weight, {d.width}, Types::F32, Need::Optional);
  p->y = a.out("y", args.y, {d.tokens, d.width}, Types::Row);
  p->inv_rms = a.out("inv_rms", args.inv_rms, {d.tokens}, Types::F32, Need::Optional);
  a.same_type("x", p->x, "y", p->y);
  a.no_overlap("y", "x");
  p->sizes = d.sizes();
}

void read_arguments(Arguments& a, const mhc_rmsnorm_backward_args& args, RmsnormBackwardProblem* p) {
  Dims d;
  a.number("eps", args.eps, 0.0f, false);
  check_accumulate(a, args.accumulate);
  p->eps = args.eps;
  p->accumulate_inputs = to_inputs(args.accumulate);
  p->accumulate_parameters = to_parameters(args.accumulate);
  p->x = a.in("x", args.x, {d.tokens, d.width}, Types::Row);
  if (a.good() && d.width.value == 0) a.fault("width is 0; expected at least 1");
  p->weight = a.in("weight", args.weight, {d.width}, Types::F32, Need::Optional);
  p->d_y = a.in("d_y", args.d_y, {d.tokens, d.width}, Types::Row);
  p->d_x = a.out("d_x", args.d_x, {d.tokens, d.width}, Types::Row);
  if (!args.weight) a.absent("d_weight", args.d_weight, "weight is not given");
  p->d_weight = a.out("d_weight", args.d_weight, {d.width}, Types::F32, Need::Optional);
  a.same_type("x", p->x, "d_y", p->d_y);
  a.same_type("x", p->x, "d_x", p->d_x);
  a.no_overlap();
  p->sizes = d.sizes();
}

namespace {

// Scales of an [M, K] tensor by tile.
View read_scale(Arguments& a, const mhc_tensor* given, int32_t tile, int64_t rows, int64_t columns, Types types,
                bool written) {
  if (!a.good()) return View{};
  int64_t down = tile == MHC_FP8_TILE_1X128 ? rows : (rows + 127) / 128, across = (columns + 127) / 128;
  return written ? a.out("scale", given, {down, across}, types, Need::Required, LastDim::AnyStride)
                 : a.in("scale", given, {down, across}, types, Need::Required, LastDim::AnyStride);
}

}  // namespace

void read_arguments(Arguments& a, const mhc_fp8_quantize_args& args, Fp8QuantizeProblem* p) {
  Dim rows{"tokens"}, columns{"width"};
  a.in_range("tile", args.tile, 0, MHC_FP8_TILE_128X128);
  a.in_range("scale_rounding", args.scale_rounding, 0, MHC_FP8_SCALE_POWER_OF_TWO);
  a.number("amax_floor", args.amax_floor, 0.0f, false);
  p->tile = args.tile;
  p->scale_rounding = args.scale_rounding;
  p->amax_floor = args.amax_floor > 0 ? args.amax_floor : kFp8AmaxFloor;
  p->src = a.in("src", args.src, {rows, columns}, Types::Row);
  p->dst = a.out("dst", args.dst, {rows, columns}, Types::E4M3);
  Types types = args.scale_rounding == MHC_FP8_SCALE_POWER_OF_TWO ? Types::Scale : Types::F32;
  p->scale = read_scale(a, args.scale, args.tile, rows.value, columns.value, types, true);
  a.no_overlap();
  p->rows = rows.value;
  p->columns = columns.value;
}

void read_arguments(Arguments& a, const mhc_fp8_dequantize_args& args, Fp8DequantizeProblem* p) {
  Dim rows{"tokens"}, columns{"width"};
  a.in_range("tile", args.tile, 0, MHC_FP8_TILE_128X128);
  p->tile = args.tile;
  p->src = a.in("src", args.src, {rows, columns}, Types::E4M3);
  p->scale = read_scale(a, args.scale, args.tile, rows.value, columns.value, Types::Scale, false);
  p->dst = a.out("dst", args.dst, {rows, columns}, Types::Row);
  a.no_overlap();
  p->rows = rows.value;
  p->columns = columns.value;
}

void read_arguments(Arguments& a, const mhc_gain_args& args, GainProblem* p) {
  Dim layers{"layers"}, tokens{"tokens"}, streams{"streams"};
  a.in_range("orientation", args.orientation, 0, MHC_IN_OUT);
  p->orientation = args.orientation;
  p->res_mix = a.in("res_mix", args.res_mix, {layers, tokens, streams, streams}, Types::F32);
  if (a.good() && (streams.value < 1 || streams.value > kMaxStreams)) {
    a.fault("res_mix.shape has %lld streams; expected 1 to %d", static_cast<long long>(streams.value), kMaxStreams);
  }
  if (a.good() && layers.value < 1) a.fault("res_mix.shape has 0 layers; expected at least 1");
  auto result = [&](const char* name, const mhc_tensor* given) {
    return a.out(name, given, {layers, tokens}, Types::F32, Need::Optional);
  };
  p->forward = result("forward", args.forward);
  p->backward = result("backward", args.backward);
  p->contraction = result("contraction", args.contraction);
  p->composite_forward = result("composite_forward", args.composite_forward);
  p->composite_backward = result("composite_backward", args.composite_backward);
  p->composite_contraction = result("composite_contraction", args.composite_contraction);
  a.no_overlap();
  p->layers = layers.value;
  p->tokens = tokens.value;
  p->streams = static_cast<int>(streams.value);
}

void read_arguments(Arguments& a, const mhc_doubly_stochastic_distance_args& args,
                    DoublyStochasticDistanceProblem* p) {
  Dim batch{"batch"}, size{"size"};
  p->matrix = a.in("matrix", args.matrix, {batch, size, size}, Types::F32);
  if (a.good() && size.value == 0) a.fault("matrix.shape has size 0; expected matrices of at least 1 x 1");
  p->distance = a.out("distance", args.distance, {batch}, Types::F32);
  a.no_overlap();
  p->batch = batch.value;
  p->size = size.value;
}

void read_arguments(Arguments& a, const mhc_birkhoff_args& args, BirkhoffProblem* p) {
  Dim batch{"batch"}, size{"size"}, terms{"terms"};
  p->matrix = a.in("matrix", args.matrix, {batch, size, size}, Types::F32);
  if (a.good() && (size.value < 1 || size.value > kMaxStreams)) {
    a.fault("matrix.shape has size %lld; expected 1 to %d", static_cast<long long>(size.value), kMaxStreams);
  }
  p->weight = a.out("weight", args.weight, {batch, terms}, Types::F32);
  p->permutation = a.out("permutation", args.permutation, {batch, terms, size}, Types::I32);
  p->terms = a.out("terms", args.terms, {batch}, Types::I32, Need::Optional);
  p->remainder = a.out("remainder", args.remainder, {batch}, Types::F32, Need::Optional);
  a.no_overlap();
  p->batch = batch.value;
  p->terms_limit = terms.value;
  p->size = static_cast<int>(size.value);
}

namespace {

// One layer of a recompute: read into views, with the block's own tensors beside it for the overlap check.
void read_layer(Arguments& a, const mhc_config& config, const mhc_recompute_layer& layer, const mhc_tensor* f_scale,
                bool needs_f, const View& x, Dims& d, RecomputeLayerViews* views) {
  int n = config.streams;
  read_parameters(a, config, layer.parameters, d, &views->parameters);
  read_layer_output(a, "layer.f", layer.f, f_scale, needs_f ? Need::Required : Need::Optional, x, d, &views->f,
                    &views->f_scale);
  read_coefficients(a, kLayerOut, config, layer.out, d, &views->out);
  views->x = a.out("layer.x", layer.x, {d.tokens, n, d.width}, Types::Row, Need::Optional);
  views->h = a.out("layer.h", layer.h, {d.tokens, d.width}, Types::Row, Need::Optional);
}

// A tensor of one layer, with its bytes.
struct LayerTensor {
  Arguments::Range range;
  const mhc_tensor* tensor;
  const char* name;
  int32_t layer;
  bool written;
};
constexpr int kTensorsOfLayer = 13;

// Those of a layer that have elements; returns how many.
int tensors_of(const Arguments& a, const mhc_recompute_args& args, int32_t index, LayerTensor* to) {
  const mhc_recompute_layer& layer = args.layer[index];
  const struct {
    const char* name;
    const mhc_tensor* tensor;
    bool written;
  } all[kTensorsOfLayer] = {{"parameters.projection", layer.parameters.projection, false},
                            {"parameters.scale", layer.parameters.scale, false},
                            {"parameters.bias", layer.parameters.bias, false},
                            {"parameters.norm_weight", layer.parameters.norm_weight, false},
                            {"f", layer.f, false},
                            {"f_scale", args.f_scale ? args.f_scale[index] : nullptr, false},
                            {"out.pre_mix", layer.out.pre_mix, true},
                            {"out.post_mix", layer.out.post_mix, true},
                            {"out.res_mix", layer.out.res_mix, true},
                            {"out.mix", layer.out.mix, true},
                            {"out.inv_rms", layer.out.inv_rms, true},
                            {"x", layer.x, true},
                            {"h", layer.h, true}};
  int count = 0;
  for (const auto& [name, tensor, written] : all) {
    Arguments::Range range;
    if (tensor) range = a.range_of(*tensor);
    if (range.first < range.last) to[count++] = {range, tensor, name, index, written};
  }
  return count;
}

// Finds an output of one layer that shares memory with a tensor of another one, going by where each begins.
void check_apart(Arguments& a, LayerTensor* tensors, int count) {
  LayerTensor* const end = tensors + count;
  std::sort(tensors, end, [](const LayerTensor& p, const LayerTensor& q) { return p.range.first < q.range.first; });
  for (const LayerTensor* one = tensors; one < end; ++one) {
    for (const LayerTensor* other = one + 1; other < end && other->range.first < one->range.last; ++other) {
      if (one->layer == other->layer || !(one->written || other->written)) continue;
      if (!a.share_memory(*one->tensor, *other->tensor)) continue;
      const LayerTensor &out = one->written ? *one : *other, &with = one->written ? *other : *one;
      a.fault("layer[%d].%s overlaps layer[%d].%s in memory; expected no overlap", out.layer, out.name, with.layer,
              with.name);
      return;
    }
  }
}

// No layer's outputs share memory with another layer's tensors. Some layers at a time, each with each: nothing is allocated,
// and as many as a model has are looked at in one go.
void check_layers_apart(Arguments& a, const mhc_recompute_args& args) {
  constexpr int32_t kLayers = 64;
  LayerTensor tensors[2 * kLayers * kTensorsOfLayer];
  auto collect = [&](int32_t first, LayerTensor* to) {
    int count = 0;
    for (int32_t l = first; l < std::min(first + kLayers, args.layers); ++l) count += tensors_of(a, args, l, to + count);
    return count;
  };
  for (int32_t i = 0; a.good() && (i == 0 || i + kLayers < args.layers); i += kLayers) {
    for (int32_t j = i + kLayers; a.good() && (j == kLayers || j < args.layers); j += kLayers) {
      int count = collect(i, tensors);
      count += collect(j, tensors + count);
      check_apart(a, tensors, count);
    }
  }
}

// The tensors of one layer, which were all checked; by their shapes, for a question about workspace has no data.
Arguments read_unchecked(const RecomputeProblem& p, int32_t index, RecomputeLayerViews* views) {
  Arguments unchecked("mhc_recompute", p.device, true);
  Dims d;
  d.tokens.value = p.sizes.tokens;
  d.width.value = p.sizes.width;
  read_layer(unchecked, p.config, p.layer[index], p.f_scale ? p.f_scale[index] : nullptr, false, p.x, d, views);
  return unchecked;
}

}  // namespace

RecomputeLayerViews RecomputeProblem::at(int32_t index) const {
  RecomputeLayerViews views;
  read_unchecked(*this, index, &views);
  return views;
}

void read_arguments(Arguments& a, const mhc_recompute_args& args, RecomputeProblem* p) {
  Dims d;
  read_config(a, args.config, &p->config);
  a.in_range("layers", args.layers, 1, 4096);
  p->x = read_streams(a, "x", args.x, p->config, d);
  int n = p->config.streams;
  if (p->config.shifted) {
    p->shifted_pre_mix = a.in("shifted_pre_mix", args.shifted_pre_mix, {d.tokens, n}, Types::F32);
  } else {
    a.absent("shifted_pre_mix", args.shifted_pre_mix, "config.shifted is 0");
  }
  p->x_next = a.out("x_next", args.x_next, {d.tokens, n, d.width}, Types::Row, Need::Optional);
  a.same_type("x", p->x, "x_next", p->x_next);
  if (a.good() && !args.layer) a.fault("layer is NULL; expected %d layers", args.layers);
  p->layer_type = p->x.type;
  View first_layer_tensor;
  const Arguments block = a;  // its own tensors, which each layer's are checked against
  for (int32_t l = 0; a.good() && l < args.layers; ++l) {
    RecomputeLayerViews views;
    Arguments one = block;
    bool needs_f = l + 1 < args.layers || args.x_next;
    read_layer(one, p->config, args.layer[l], args.f_scale ? args.f_scale[l] : nullptr, needs_f, p->x, d, &views);
    one.same_type("x", p->x, "layer.x", views.x);
    for (const View* row : {&views.f, &views.h}) {
      if (row->type == DType::E4M3) continue;
      one.row_types("x", p->x, row == &views.f ? "layer.f" : "layer.h", *row);
      if (!first_layer_tensor) first_layer_tensor = *row;
      one.same_type("layer.f of the first layer", first_layer_tensor, row == &views.f ? "layer.f" : "layer.h", *row);
    }
    one.no_overlap();
    if (!one.good()) a.adopt_fault(one, "layer[%d]", l);
  }
  check_layers_apart(a, args);
  if (first_layer_tensor) p->layer_type = first_layer_tensor.type;
  p->device = a.device();
  p->layers = args.layers;
  p->layer = args.layer;
  p->f_scale = args.f_scale;
  p->sizes = d.sizes(mix_count_of(p->config));
  if (!a.good()) return;
  a.adopt({p, p->layers, [](const void* owner, int32_t index) {
             RecomputeLayerViews views;
             return read_unchecked(*static_cast<const RecomputeProblem*>(owner), index, &views);
           }});
}

}  // namespace mhc
