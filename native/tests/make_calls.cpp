// SPDX-License-Identifier: Apache-2.0
// The arguments of every operation, in the order of mhc.h.
#include <cmath>

#include "call.h"

namespace mhc_test {
namespace {

// A call whose block is Args; bind puts the tensors' descriptors into the block, just before each use.
template <class Args>
class CallOf : public Call {
 public:
  using Function = mhc_status (*)(mhc_context*, const Args*);
  using Bind = std::function<void(CallOf&)>;

  CallOf(const char* name, mhc_operation operation, Function function, const Form& form, Bind bind)
      : Call(name, operation), invoke_(function), bind_(std::move(bind)) {
    layout = form.layout;
    config = form.config;
    config.streams = form.streams;
    args.struct_size = sizeof args;
    struct_size = &args.struct_size;
    stream = &args.stream;
    if constexpr (requires { args.config; }) {
      args.config = &config;
      config_pointer = &args.config;
    }
    if constexpr (requires { args.accumulate; }) {
      args.accumulate = form.accumulate;
      accumulate = &args.accumulate;
    }
    if constexpr (requires { args.orientation; }) {
      args.orientation = form.orientation;
      orientation = &args.orientation;
    }
    if constexpr (requires { args.kind; }) {
      args.kind = form.kind;
      kind = &args.kind;
    }
    if constexpr (requires { args.tile; }) {
      args.tile = form.tile;
      tile = &args.tile;
    }
    if constexpr (requires { args.scale_rounding; }) {
      args.scale_rounding = form.rounding;
      rounding = &args.scale_rounding;
    }
    if constexpr (requires { args.fp8_scale_rounding; }) {
      args.fp8_scale_rounding = form.rounding;
      rounding = &args.fp8_scale_rounding;
    }
    if constexpr (requires { args.norm_eps; }) {
      args.norm_eps = 1e-5f;
      eps = &args.norm_eps;
    }
    if constexpr (requires { args.eps; }) {
      args.eps = 1e-5f;
      eps = &args.eps;
    }
    if constexpr (requires { args.amax_floor; }) amax_floor = &args.amax_floor;
    if constexpr (requires { args.layers; }) {
      args.layers = form.layers;
      layers = &args.layers;
    }
  }

  mhc_status invoke(mhc_context* context) override {
    bind_(*this);
    return invoke_(context, &args);
  }
  mhc_status workspace(mhc_context* context, size_t* bytes) override {
    bind_(*this);
    return mhc_workspace_size(context, operation(), &args, bytes);
  }
  mhc_status invoke_again(mhc_context* context) override { return invoke_(context, &args); }
  mhc_status invoke_without_block(mhc_context* context) override { return invoke_(context, nullptr); }

  using Call::coefficients;
  using Call::gradients;
  using Call::parameters;
  using Call::pointer;
  Args args = {};

 private:
  Function invoke_;
  Bind bind_;
};

template <class Args>
std::unique_ptr<CallOf<Args>> begin(const char* name, mhc_operation operation, mhc_status (*function)(mhc_context*, const Args*),
                                    const Form& form, typename CallOf<Args>::Bind bind) {
  return std::make_unique<CallOf<Args>>(name, operation, function, form, std::move(bind));
}

mhc_config config_of(const Form& s) {
  mhc_config config = s.config;
  config.streams = s.streams;
  return config;
}

bool dynamic(const mhc_config& c) { return c.mode != MHC_MODE_RESIDUAL && !c.is_static; }

void add_parameters(Call& call, const Form& s, Random& r, const std::string& prefix = "parameters.") {
  const mhc_config c = config_of(s);
  const int64_t m = oracle::mix_count(c), row = s.shape().row();
  if (c.mode == MHC_MODE_RESIDUAL) return;
  if (dynamic(c)) {
    call.input(prefix + "projection", kFp32, {m, row}, r.normals(m * row, 1 / std::sqrt((double)row)), -1);
    call.input(prefix + "scale", kFp32, {3}, r.normals(3, 0.3, 1), -1);
    if (s.norm_weight) call.input(prefix + "norm_weight", kFp32, {row}, r.normals(row, 0.3, 1), -1);
  }
  call.input(prefix + "bias", kFp32, {m}, r.normals(m), -1);
}

void add_gradients(Call& call, const Form& s) {
  const mhc_config c = config_of(s);
  const int64_t m = oracle::mix_count(c), row = s.shape().row();
  const int32_t flag = MHC_ACCUMULATE_PARAMETERS;
  if (c.mode == MHC_MODE_RESIDUAL) return;
  if (dynamic(c)) {
    call.output("d_parameters.projection", kFp32, {m, row}, true, flag, -1);
    call.output("d_parameters.scale", kFp32, {3}, true, flag, -1);
    if (s.norm_weight) call.output("d_parameters.norm_weight", kFp32, {row}, true, flag, -1);
  }
  call.output("d_parameters.bias", kFp32, {m}, true, flag, -1);
}

void add_coefficients(Call& call, const Form& s, const std::string& prefix) {
  const int64_t n = s.streams;
  call.output(prefix + "pre_mix", kFp32, {s.tokens, n});
  call.output(prefix + "post_mix", kFp32, {s.tokens, n});
  call.output(prefix + "res_mix", kFp32, {s.tokens, n, n});
  if (!dynamic(config_of(s))) return;
  call.output(prefix + "mix", kFp32, {s.tokens, oracle::mix_count(config_of(s))}, true);
  call.output(prefix + "inv_rms", kFp32, {s.tokens}, true);
}

// What the forward saved, from the residual x that the coefficients saw.
void add_saved(Call& call, const Form& s, const Array& x) {
  const mhc_config c = config_of(s);
  if (!dynamic(c)) return;
  const auto saved = oracle::project(c, oracle_parameters(call, "parameters."), x, s.shape());
  call.input("mix", kFp32, {s.tokens, oracle::mix_count(c)}, saved.mix);
  call.input("inv_rms", kFp32, {s.tokens}, saved.inv_rms);
}

void add_streams(Call& call, const Form& s, Random& r, const std::string& name, bool optional = false) {
  call.input(name, s.types.streams, {s.tokens, s.streams, s.width}, r.normals(s.tokens * s.shape().row()), 0, optional);
}
void add_layer(Call& call, const Form& s, Random& r, const std::string& name, bool optional = false) {
  call.input(name, s.types.layer, {s.tokens, s.width}, r.normals(s.tokens * s.width), 0, optional);
}
Element scale_element(const Form& s) {
  return s.rounding == MHC_FP8_SCALE_POWER_OF_TWO && s.layout == Layout::padded ? kE8m0 : kFp32;
}

// Scales of tiles, above 0.
Array scales(const Form& s, Random& r, int64_t count) {
  Array scale = r.normals(count);
  for (double& v : scale) v = s.rounding == MHC_FP8_SCALE_POWER_OF_TWO ? std::exp2(std::round(v)) : std::fabs(v);
  return scale;
}

// F's output, in FP8 where the form says so.
void add_layer_output(Call& call, const Form& s, Random& r, const std::string& prefix = "") {
  if (!s.fp8_f) return add_layer(call, s, r, prefix + "f");
  const int64_t tiles = (s.width + 127) / 128;
  call.input(prefix + "f", kE4m3, {s.tokens, s.width}, r.normals(s.tokens * s.width));
  call.input(prefix + "f_scale", scale_element(s), {s.tokens, tiles}, scales(s, r, s.tokens * tiles));
}
void add_mix(Call& call, const Form& s, Random& r, const std::string& name, bool optional = false) {
  call.input(name, kFp32, {s.tokens, s.streams}, r.normals(s.tokens * s.streams), 0, optional);
}
void add_matrix(Call& call, const Form& s, Random& r, const std::string& name, bool optional = false, double deviation = 1) {
  call.input(name, kFp32, {s.tokens, s.streams, s.streams}, r.normals(s.tokens * s.streams * s.streams, deviation), 0, optional);
}

std::vector<int64_t> streams_shape(const Form& s) { return {s.tokens, s.streams, s.width}; }
std::vector<int64_t> layer_shape(const Form& s) { return {s.tokens, s.width}; }

}  // namespace

std::unique_ptr<Call> make_coefficients(const Form& s, Random& r) {
  auto call = begin<mhc_coefficients_args>("mhc_coefficients", MHC_OP_COEFFICIENTS, mhc_coefficients, s, [](auto& c) {
    c.args.parameters = c.parameters("parameters.");
    c.args.x = c.pointer("x");
    c.args.out = c.coefficients("out.");
  });
  add_streams(*call, s, r, "x");
  add_parameters(*call, s, r);
  add_coefficients(*call, s, "out.");
  return call;
}

std::unique_ptr<Call> make_coefficients_backward(const Form& s, Random& r) {
  auto call = begin<mhc_coefficients_backward_args>(
      "mhc_coefficients_backward", MHC_OP_COEFFICIENTS_BACKWARD, mhc_coefficients_backward, s, [](auto& c) {
        c.args.parameters = c.parameters("parameters.");
        c.args.x = c.pointer("x");
        c.args.mix = c.pointer("mix");
        c.args.inv_rms = c.pointer("inv_rms");
        c.args.d_pre_mix = c.pointer("d_pre_mix");
        c.args.d_post_mix = c.pointer("d_post_mix");
        c.args.d_res_mix = c.pointer("d_res_mix");
        c.args.d_x = c.pointer("d_x");
        c.args.d_parameters = c.gradients("d_parameters.");
      });
  add_streams(*call, s, r, "x");
  add_parameters(*call, s, r);
  add_saved(*call, s, call->values("x"));
  add_mix(*call, s, r, "d_pre_mix", true);
  add_mix(*call, s, r, "d_post_mix", true);
  add_matrix(*call, s, r, "d_res_mix", true);
  call->output("d_x", s.types.streams, streams_shape(s), true, MHC_ACCUMULATE_INPUTS);
  add_gradients(*call, s);
  return call;
}

std::unique_ptr<Call> make_sinkhorn(const Form& s, Random& r) {
  auto call = begin<mhc_sinkhorn_args>("mhc_sinkhorn", MHC_OP_SINKHORN, mhc_sinkhorn, s, [](auto& c) {
    c.args.logits = c.pointer("logits");
    c.args.out = c.pointer("out");
  });
  add_matrix(*call, s, r, "logits", false, s.logits);
  call->output("out", kFp32, {s.tokens, s.streams, s.streams});
  return call;
}

std::unique_ptr<Call> make_sinkhorn_backward(const Form& s, Random& r) {
  auto call = begin<mhc_sinkhorn_backward_args>(
      "mhc_sinkhorn_backward", MHC_OP_SINKHORN_BACKWARD, mhc_sinkhorn_backward, s, [](auto& c) {
        c.args.logits = c.pointer("logits");
        c.args.d_out = c.pointer("d_out");
        c.args.d_logits = c.pointer("d_logits");
      });
  add_matrix(*call, s, r, "logits", false, s.logits);
  add_matrix(*call, s, r, "d_out");
  call->output("d_logits", kFp32, {s.tokens, s.streams, s.streams}, false, MHC_ACCUMULATE_INPUTS);
  return call;
}

std::unique_ptr<Call> make_pre(const Form& s, Random& r) {
  auto call = begin<mhc_pre_args>("mhc_pre", MHC_OP_PRE, mhc_pre, s, [](auto& c) {
    c.args.x = c.pointer("x");
    c.args.pre_mix = c.pointer("pre_mix");
    c.args.h = c.pointer("h");
  });
  add_streams(*call, s, r, "x");
  add_mix(*call, s, r, "pre_mix");
  call->output("h", s.types.layer, layer_shape(s));
  return call;
}

std::unique_ptr<Call> make_pre_backward(const Form& s, Random& r) {
  auto call = begin<mhc_pre_backward_args>("mhc_pre_backward", MHC_OP_PRE_BACKWARD, mhc_pre_backward, s, [](auto& c) {
    c.args.x = c.pointer("x");
    c.args.pre_mix = c.pointer("pre_mix");
    c.args.d_h = c.pointer("d_h");
    c.args.d_x = c.pointer("d_x");
    c.args.d_pre_mix = c.pointer("d_pre_mix");
  });
  add_streams(*call, s, r, "x");
  add_mix(*call, s, r, "pre_mix");
  add_layer(*call, s, r, "d_h");
  call->output("d_x", s.types.streams, streams_shape(s), true, MHC_ACCUMULATE_INPUTS);
  call->output("d_pre_mix", kFp32, {s.tokens, s.streams}, true);
  return call;
}

std::unique_ptr<Call> make_post(const Form& s, Random& r) {
  auto call = begin<mhc_post_args>("mhc_post", MHC_OP_POST, mhc_post, s, [](auto& c) {
    c.args.x = c.pointer("x");
    c.args.f = c.pointer("f");
    c.args.f_scale = c.pointer("f_scale");
    c.args.post_mix = c.pointer("post_mix");
    c.args.res_mix = c.pointer("res_mix");
    c.args.x_next = c.pointer("x_next");
  });
  add_streams(*call, s, r, "x");
  add_layer_output(*call, s, r);
  add_mix(*call, s, r, "post_mix");
  add_matrix(*call, s, r, "res_mix");
  call->output("x_next", s.types.streams, streams_shape(s));
  return call;
}

std::unique_ptr<Call> make_post_backward(const Form& s, Random& r) {
  auto call = begin<mhc_post_backward_args>("mhc_post_backward", MHC_OP_POST_BACKWARD, mhc_post_backward, s, [](auto& c) {
    c.args.x = c.pointer("x");
    c.args.f = c.pointer("f");
    c.args.f_scale = c.pointer("f_scale");
    c.args.post_mix = c.pointer("post_mix");
    c.args.res_mix = c.pointer("res_mix");
    c.args.d_x_next = c.pointer("d_x_next");
    c.args.d_x = c.pointer("d_x");
    c.args.d_f = c.pointer("d_f");
    c.args.d_post_mix = c.pointer("d_post_mix");
    c.args.d_res_mix = c.pointer("d_res_mix");
  });
  add_streams(*call, s, r, "x");
  add_layer_output(*call, s, r);
  add_mix(*call, s, r, "post_mix");
  add_matrix(*call, s, r, "res_mix");
  add_streams(*call, s, r, "d_x_next");
  call->output("d_x", s.types.streams, streams_shape(s), true, MHC_ACCUMULATE_INPUTS);
  call->output("d_f", s.types.layer, layer_shape(s), true, MHC_ACCUMULATE_INPUTS);
  call->output("d_post_mix", kFp32, {s.tokens, s.streams}, true);
  call->output("d_res_mix", kFp32, {s.tokens, s.streams, s.streams}, true);
  return call;
}

namespace {

void add_boundary_inputs(Call& call, const Form& s, Random& r) {
  add_streams(call, s, r, "x");
  if (!s.first) {
    add_layer_output(call, s, r);
    add_mix(call, s, r, "post_mix");
    add_matrix(call, s, r, "res_mix", false, 0.5);
  }
  if (s.config.shifted) add_mix(call, s, r, "shifted_pre_mix");
  add_parameters(call, s, r);
  if (s.norm) call.input("norm_weight", kFp32, {s.width}, r.normals(s.width, 0.3, 1), -1);
}

// Sets the fields that the forward and the backward block share.
template <class C>
void bind_boundary_inputs(C& c) {
  c.args.parameters = c.parameters("parameters.");
  c.args.x = c.pointer("x");
  c.args.f = c.pointer("f");
  c.args.f_scale = c.pointer("f_scale");
  c.args.post_mix = c.pointer("post_mix");
  c.args.res_mix = c.pointer("res_mix");
  c.args.shifted_pre_mix = c.pointer("shifted_pre_mix");
  c.args.norm_weight = c.pointer("norm_weight");
}

}  // namespace

std::unique_ptr<Call> make_boundary(const Form& s, Random& r) {
  auto call = begin<mhc_boundary_args>("mhc_boundary", MHC_OP_BOUNDARY, mhc_boundary, s, [](auto& c) {
    bind_boundary_inputs(c);
    c.args.x_next = c.pointer("x_next");
    c.args.next = c.coefficients("next.");
    c.args.h = c.pointer("h");
    c.args.y = c.pointer("y");
    c.args.h_fp8 = c.pointer("h_fp8");
    c.args.h_scale = c.pointer("h_scale");
  });
  add_boundary_inputs(*call, s, r);
  if (!s.first) call->output("x_next", s.types.streams, streams_shape(s));
  add_coefficients(*call, s, "next.");
  call->output("h", s.types.layer, layer_shape(s), s.norm || s.fp8);
  if (s.norm) call->output("y", s.types.layer, layer_shape(s));
  if (s.fp8) {
    call->output("h_fp8", kE4m3, layer_shape(s));
    const bool bytes = s.rounding == MHC_FP8_SCALE_POWER_OF_TWO && s.layout == Layout::padded;
    call->output("h_scale", bytes ? kE8m0 : kFp32, {s.tokens, (s.width + 127) / 128});
  }
  return call;
}

std::unique_ptr<Call> make_boundary_backward(const Form& s, Random& r) {
  auto call = begin<mhc_boundary_backward_args>(
      "mhc_boundary_backward", MHC_OP_BOUNDARY_BACKWARD, mhc_boundary_backward, s, [](auto& c) {
        bind_boundary_inputs(c);
        c.args.mix = c.pointer("mix");
        c.args.inv_rms = c.pointer("inv_rms");
        c.args.d_h = c.pointer("d_h");
        c.args.d_x_next = c.pointer("d_x_next");
        c.args.d_pre_mix_next = c.pointer("d_pre_mix_next");
        c.args.d_post_mix_next = c.pointer("d_post_mix_next");
        c.args.d_res_mix_next = c.pointer("d_res_mix_next");
        c.args.d_x = c.pointer("d_x");
        c.args.d_f = c.pointer("d_f");
        c.args.d_post_mix = c.pointer("d_post_mix");
        c.args.d_res_mix = c.pointer("d_res_mix");
        c.args.d_shifted_pre_mix = c.pointer("d_shifted_pre_mix");
        c.args.d_norm_weight = c.pointer("d_norm_weight");
        c.args.d_parameters = c.gradients("d_parameters.");
      });
  add_boundary_inputs(*call, s, r);
  Array entering = call->values("x");
  if (!s.first)
    entering = oracle::rounded(s.types.streams.type, oracle::post(s.config.orientation, entering, layer_output(*call),
                                                                  call->values("post_mix"), call->values("res_mix"), s.shape()));
  add_saved(*call, s, entering);
  add_layer(*call, s, r, "d_h");
  add_streams(*call, s, r, "d_x_next", true);
  if (s.config.shifted) add_mix(*call, s, r, "d_pre_mix_next", true);
  add_mix(*call, s, r, "d_post_mix_next", true);
  add_matrix(*call, s, r, "d_res_mix_next", true);
  call->output("d_x", s.types.streams, streams_shape(s), false, MHC_ACCUMULATE_INPUTS);
  if (!s.first) {
    call->output("d_f", s.types.layer, layer_shape(s), false, MHC_ACCUMULATE_INPUTS);
    call->output("d_post_mix", kFp32, {s.tokens, s.streams});
    call->output("d_res_mix", kFp32, {s.tokens, s.streams, s.streams});
  }
  if (s.config.shifted) call->output("d_shifted_pre_mix", kFp32, {s.tokens, s.streams}, true);
  if (s.norm) call->output("d_norm_weight", kFp32, {s.width}, true, MHC_ACCUMULATE_PARAMETERS, -1);
  add_gradients(*call, s);
  return call;
}

std::unique_ptr<Call> make_expand(const Form& s, Random& r) {
  auto call = begin<mhc_expand_args>("mhc_expand", MHC_OP_EXPAND, mhc_expand, s, [](auto& c) {
    c.args.embedding = c.pointer("embedding");
    c.args.x = c.pointer("x");
  });
  add_layer(*call, s, r, "embedding");
  call->output("x", s.types.streams, streams_shape(s));
  return call;
}

std::unique_ptr<Call> make_expand_backward(const Form& s, Random& r) {
  auto call = begin<mhc_expand_backward_args>("mhc_expand_backward", MHC_OP_EXPAND_BACKWARD, mhc_expand_backward, s, [](auto& c) {
    c.args.d_x = c.pointer("d_x");
    c.args.d_embedding = c.pointer("d_embedding");
  });
  add_streams(*call, s, r, "d_x");
  call->output("d_embedding", s.types.layer, layer_shape(s), false, MHC_ACCUMULATE_INPUTS);
  return call;
}

namespace {

void add_head_parameters(Call& call, const Form& s, Random& r) {
  const int64_t n = s.streams, row = s.shape().row();
  call.input("projection", kFp32, {n, row}, r.normals(n * row, 1 / std::sqrt((double)row)), -1);
  call.input("scale", kFp32, {1}, r.normals(1, 0.3, 1), -1);
  call.input("bias", kFp32, {n}, r.normals(n), -1);
}

}  // namespace

std::unique_ptr<Call> make_head(const Form& s, Random& r) {
  auto call = begin<mhc_head_args>("mhc_head", MHC_OP_HEAD, mhc_head, s, [](auto& c) {
    c.args.projection = c.pointer("projection");
    c.args.scale = c.pointer("scale");
    c.args.bias = c.pointer("bias");
    c.args.x = c.pointer("x");
    c.args.y = c.pointer("y");
    c.args.mix = c.pointer("mix");
    c.args.inv_rms = c.pointer("inv_rms");
  });
  add_streams(*call, s, r, "x");
  call->output("y", s.types.layer, layer_shape(s));
  if (s.kind != MHC_HEAD_WEIGHTED) return call;
  add_head_parameters(*call, s, r);
  call->output("mix", kFp32, {s.tokens, s.streams}, true);
  call->output("inv_rms", kFp32, {s.tokens}, true);
  return call;
}

std::unique_ptr<Call> make_head_backward(const Form& s, Random& r) {
  auto call = begin<mhc_head_backward_args>("mhc_head_backward", MHC_OP_HEAD_BACKWARD, mhc_head_backward, s, [](auto& c) {
    c.args.projection = c.pointer("projection");
    c.args.scale = c.pointer("scale");
    c.args.bias = c.pointer("bias");
    c.args.x = c.pointer("x");
    c.args.mix = c.pointer("mix");
    c.args.inv_rms = c.pointer("inv_rms");
    c.args.d_y = c.pointer("d_y");
    c.args.d_x = c.pointer("d_x");
    c.args.d_projection = c.pointer("d_projection");
    c.args.d_scale = c.pointer("d_scale");
    c.args.d_bias = c.pointer("d_bias");
  });
  add_layer(*call, s, r, "d_y");
  call->output("d_x", s.types.streams, streams_shape(s), false, MHC_ACCUMULATE_INPUTS);
  if (s.kind != MHC_HEAD_WEIGHTED) return call;
  add_streams(*call, s, r, "x");
  add_head_parameters(*call, s, r);
  const auto saved = oracle::head(call->config, s.kind, oracle_parameters(*call, ""), call->values("x"), s.shape());
  call->input("mix", kFp32, {s.tokens, s.streams}, saved.mix);
  call->input("inv_rms", kFp32, {s.tokens}, saved.inv_rms);
  const int64_t n = s.streams, row = s.shape().row();
  call->output("d_projection", kFp32, {n, row}, true, MHC_ACCUMULATE_PARAMETERS, -1);
  call->output("d_scale", kFp32, {1}, true, MHC_ACCUMULATE_PARAMETERS, -1);
  call->output("d_bias", kFp32, {n}, true, MHC_ACCUMULATE_PARAMETERS, -1);
  return call;
}

std::unique_ptr<Call> make_rmsnorm(const Form& s, Random& r) {
  auto call = begin<mhc_rmsnorm_args>("mhc_rmsnorm", MHC_OP_RMSNORM, mhc_rmsnorm, s, [](auto& c) {
    c.args.x = c.pointer("x");
    c.args.weight = c.pointer("weight");
    c.args.y = c.pointer("y");
    c.args.inv_rms = c.pointer("inv_rms");
  });
  add_layer(*call, s, r, "x");
  if (s.norm_weight) call->input("weight", kFp32, {s.width}, r.normals(s.width, 0.3, 1), -1);
  call->output("y", s.types.layer, layer_shape(s));
  call->output("inv_rms", kFp32, {s.tokens}, true);
  return call;
}

std::unique_ptr<Call> make_rmsnorm_backward(const Form& s, Random& r) {
  auto call = begin<mhc_rmsnorm_backward_args>(
      "mhc_rmsnorm_backward", MHC_OP_RMSNORM_BACKWARD, mhc_rmsnorm_backward, s, [](auto& c) {
        c.args.x = c.pointer("x");
        c.args.weight = c.pointer("weight");
        c.args.d_y = c.pointer("d_y");
        c.args.d_x = c.pointer("d_x");
        c.args.d_weight = c.pointer("d_weight");
      });
  add_layer(*call, s, r, "x");
  if (s.norm_weight) call->input("weight", kFp32, {s.width}, r.normals(s.width, 0.3, 1), -1);
  add_layer(*call, s, r, "d_y");
  call->output("d_x", s.types.layer, layer_shape(s), false, MHC_ACCUMULATE_INPUTS);
  if (s.norm_weight) call->output("d_weight", kFp32, {s.width}, true, MHC_ACCUMULATE_PARAMETERS, -1);
  return call;
}

namespace {

struct Tiles {
  int64_t down, across;
  int token_axis;
};
Tiles tiles(const Form& s) {
  const bool rows = s.tile == MHC_FP8_TILE_1X128;
  return {rows ? s.tokens : (s.tokens + 127) / 128, (s.width + 127) / 128, rows ? 0 : -1};
}

}  // namespace

std::unique_ptr<Call> make_fp8_quantize(const Form& s, Random& r) {
  auto call = begin<mhc_fp8_quantize_args>("mhc_fp8_quantize", MHC_OP_FP8_QUANTIZE, mhc_fp8_quantize, s, [](auto& c) {
    c.args.src = c.pointer("src");
    c.args.dst = c.pointer("dst");
    c.args.scale = c.pointer("scale");
  });
  const Tiles t = tiles(s);
  call->input("src", s.types.layer, layer_shape(s), r.normals(s.tokens * s.width), t.token_axis);
  call->output("dst", kE4m3, layer_shape(s), false, 0, t.token_axis);
  call->output("scale", scale_element(s), {t.down, t.across}, false, 0, t.token_axis);
  return call;
}

std::unique_ptr<Call> make_fp8_dequantize(const Form& s, Random& r) {
  auto call = begin<mhc_fp8_dequantize_args>("mhc_fp8_dequantize", MHC_OP_FP8_DEQUANTIZE, mhc_fp8_dequantize, s, [](auto& c) {
    c.args.src = c.pointer("src");
    c.args.scale = c.pointer("scale");
    c.args.dst = c.pointer("dst");
  });
  const Tiles t = tiles(s);
  const Array scale = scales(s, r, t.down * t.across);
  call->input("src", kE4m3, layer_shape(s), r.normals(s.tokens * s.width, 50), t.token_axis);
  call->input("scale", scale_element(s), {t.down, t.across}, scale, t.token_axis);
  call->output("dst", s.types.layer, layer_shape(s), false, 0, t.token_axis);
  return call;
}

std::unique_ptr<Call> make_gain(const Form& s, Random& r) {
  auto call = begin<mhc_gain_args>("mhc_gain", MHC_OP_GAIN, mhc_gain, s, [](auto& c) {
    c.args.res_mix = c.pointer("res_mix");
    c.args.forward = c.pointer("forward");
    c.args.backward = c.pointer("backward");
    c.args.contraction = c.pointer("contraction");
    c.args.composite_forward = c.pointer("composite_forward");
    c.args.composite_backward = c.pointer("composite_backward");
    c.args.composite_contraction = c.pointer("composite_contraction");
  });
  const int64_t n = s.streams;
  call->input("res_mix", kFp32, {s.layers, s.tokens, n, n}, r.normals(s.layers * s.tokens * n * n, 0.5), 1);
  for (const char* name : {"forward", "backward", "contraction", "composite_forward", "composite_backward", "composite_contraction"})
    call->output(name, kFp32, {s.layers, s.tokens}, true, 0, 1);
  return call;
}

std::unique_ptr<Call> make_doubly_stochastic_distance(const Form& s, Random& r) {
  auto call = begin<mhc_doubly_stochastic_distance_args>(
      "mhc_doubly_stochastic_distance", MHC_OP_DOUBLY_STOCHASTIC_DISTANCE, mhc_doubly_stochastic_distance, s, [](auto& c) {
        c.args.matrix = c.pointer("matrix");
        c.args.distance = c.pointer("distance");
      });
  add_matrix(*call, s, r, "matrix", false, 0.3);
  call->output("distance", kFp32, {s.tokens});
  return call;
}

std::unique_ptr<Call> make_birkhoff(const Form& s, Random& r) {
  auto call = begin<mhc_birkhoff_args>("mhc_birkhoff", MHC_OP_BIRKHOFF, mhc_birkhoff, s, [](auto& c) {
    c.args.matrix = c.pointer("matrix");
    c.args.weight = c.pointer("weight");
    c.args.permutation = c.pointer("permutation");
    c.args.terms = c.pointer("terms");
    c.args.remainder = c.pointer("remainder");
  });
  const int64_t n = s.streams, terms = (n - 1) * (n - 1) + 1;
  mhc_config converged = preset(MHC_PRESET_PAPER, 4);
  converged.iterations = 500;
  const Array doubly_stochastic = oracle::sinkhorn(converged, r.normals(s.tokens * n * n), n);
  call->input("matrix", kFp32, {s.tokens, n, n}, doubly_stochastic);
  call->output("weight", kFp32, {s.tokens, terms});
  call->output("permutation", kInt32, {s.tokens, terms, n});
  call->output("terms", kInt32, {s.tokens}, true);
  call->output("remainder", kFp32, {s.tokens}, true);
  return call;
}

std::unique_ptr<Call> make_recompute(const Form& s, Random& r) {
  auto layers = std::make_shared<std::vector<mhc_recompute_layer>>(s.layers);
  auto f_scales = std::make_shared<std::vector<const mhc_tensor*>>(s.layers);
  auto call = begin<mhc_recompute_args>("mhc_recompute", MHC_OP_RECOMPUTE, mhc_recompute, s, [layers, f_scales](auto& c) {
    c.args.f_scale = nullptr;
    c.args.x = c.pointer("x");
    c.args.shifted_pre_mix = c.pointer("shifted_pre_mix");
    for (size_t l = 0; l < layers->size(); ++l) {
      const std::string name = "layer[" + std::to_string(l) + "].";
      (*layers)[l] = {c.parameters(name + "parameters."), c.pointer(name + "f"), c.coefficients(name + "out."),
                      c.pointer(name + "x"), c.pointer(name + "h")};
      (*f_scales)[l] = c.pointer(name + "f_scale");
      if ((*f_scales)[l]) c.args.f_scale = f_scales->data();
    }
    c.args.layer = layers->data();
    c.args.x_next = c.pointer("x_next");
  });
  add_streams(*call, s, r, "x");
  if (s.config.shifted) add_mix(*call, s, r, "shifted_pre_mix");
  for (int32_t l = 0; l < s.layers; ++l) {
    const std::string name = "layer[" + std::to_string(l) + "].";
    add_parameters(*call, s, r, name + "parameters.");
    add_layer_output(*call, s, r, name);
    add_coefficients(*call, s, name + "out.");
    call->output(name + "x", s.types.streams, streams_shape(s), true);
    call->output(name + "h", s.types.layer, layer_shape(s), true);
  }
  call->output("x_next", s.types.streams, streams_shape(s), true);
  return call;
}

}  // namespace mhc_test
