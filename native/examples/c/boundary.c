/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer boundary through the C interface, checked against the golden values that the library's own tests use:
 *
 *   boundary <directory of golden files>
 *
 * Exit status: 0 all results agree; 1 some do not, or a call failed; 2 the command line is wrong.
 */
#include <mhc/mhc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

/* Beyond one rounding to its own type a result may be off by this much of the tensor's largest value. */
static const double forward_tolerance = 1e-5, backward_tolerance = 2e-5, fp8_scale_tolerance = 1e-6;

/* Every call returns a status; what went wrong is in mhc_last_error(). */
static void require(mhc_status status) {
  if (status == MHC_OK) return;
  fprintf(stderr, "%s: %s\n", mhc_status_name(status), mhc_last_error());
  exit(EXIT_FAILURE);
}

/* Operations allocate nothing: what one needs is asked for and reserved beforehand, once for the largest shapes. */
static void reserve(mhc_context* context, mhc_operation operation, const void* args) {
  size_t bytes;
  require(mhc_workspace_size(context, operation, args, &bytes));
  require(mhc_context_reserve(context, bytes));
}

static mhc_parameters parameters_of(golden* g) {
  const mhc_parameters p = {
      .projection = golden_input(g, "parameters_projection", fp32),
      .scale = golden_input(g, "parameters_scale", fp32),
      .bias = golden_input(g, "parameters_bias", fp32),
      .norm_weight = golden_input(g, "parameters_norm_weight", fp32),
  };
  return p;
}

/* Backward of the boundary below; mix and inv_rms are what its forward saved. */
static int check_boundary_backward(mhc_context* context, golden* g, const mhc_boundary_args* forward) {
  const mhc_dtype streams = golden_dtype(g, "dtype"), layer = golden_dtype(g, "layer_dtype");
  mhc_boundary_backward_args args = {
      .struct_size = sizeof args,
      .config = forward->config,
      .parameters = forward->parameters,
      .accumulate = MHC_ACCUMULATE_NONE,
      .norm_eps = forward->norm_eps,
      .x = forward->x,
      .f = forward->f,
      .post_mix = forward->post_mix,
      .res_mix = forward->res_mix,
      .shifted_pre_mix = forward->shifted_pre_mix,
      .norm_weight = forward->norm_weight,
      .mix = forward->next.mix,
      .inv_rms = forward->next.inv_rms,
      .d_h = golden_input(g, "d_h", layer),
      .d_x_next = golden_input(g, "d_x_next", streams),
      .d_pre_mix_next = golden_input(g, "d_pre_mix_next", fp32),
      .d_post_mix_next = golden_input(g, "d_post_mix_next", fp32),
      .d_res_mix_next = golden_input(g, "d_res_mix_next", fp32),
      .d_x = golden_output(g, "d_x", streams),
      .d_f = golden_output(g, "d_f", layer),
      .d_post_mix = golden_output(g, "d_post_mix", fp32),
      .d_res_mix = golden_output(g, "d_res_mix", fp32),
      .d_shifted_pre_mix = golden_output(g, "d_shifted_pre_mix", fp32),
      .d_norm_weight = golden_output(g, "d_norm_weight", fp32),
      .d_parameters = {.projection = golden_output(g, "d_parameters_projection", fp32),
                       .scale = golden_output(g, "d_parameters_scale", fp32),
                       .bias = golden_output(g, "d_parameters_bias", fp32),
                       .norm_weight = golden_output(g, "d_parameters_norm_weight", fp32)},
  };
  if (args.d_h == NULL) return 1; /* a case of the forward alone */
  reserve(context, MHC_OP_BOUNDARY_BACKWARD, &args);
  require(mhc_boundary_backward(context, &args));
  return golden_check(g, "d_x", args.d_x, backward_tolerance) & golden_check(g, "d_f", args.d_f, backward_tolerance) &
         golden_check(g, "d_post_mix", args.d_post_mix, backward_tolerance) &
         golden_check(g, "d_res_mix", args.d_res_mix, backward_tolerance) &
         golden_check(g, "d_shifted_pre_mix", args.d_shifted_pre_mix, backward_tolerance) &
         golden_check(g, "d_norm_weight", args.d_norm_weight, backward_tolerance) &
         golden_check(g, "d_parameters_projection", args.d_parameters.projection, backward_tolerance) &
         golden_check(g, "d_parameters_scale", args.d_parameters.scale, backward_tolerance) &
         golden_check(g, "d_parameters_bias", args.d_parameters.bias, backward_tolerance) &
         golden_check(g, "d_parameters_norm_weight", args.d_parameters.norm_weight, backward_tolerance);
}

/* Post of layer l, coefficients and pre of layer l+1 in one pass. A case of a first layer has no f: then it is the
 * coefficients and pre alone. Some cases also ask for the RMSNorm of h, and for that in FP8. */
static int check_boundary(mhc_context* context, golden* g) {
  const mhc_config config = golden_config(g);
  const mhc_dtype streams = golden_dtype(g, "dtype"), layer = golden_dtype(g, "layer_dtype");
  mhc_boundary_args args = {
      .struct_size = sizeof args,
      .config = &config,
      .parameters = parameters_of(g),
      .x = golden_input(g, "x", streams),
      .f = golden_input(g, "f", layer),
      .post_mix = golden_input(g, "post_mix", fp32),
      .res_mix = golden_input(g, "res_mix", fp32),
      .x_next = golden_output(g, "x_next", streams),
      .shifted_pre_mix = golden_input(g, "shifted_pre_mix", fp32),
      .next = {.pre_mix = golden_output(g, "next_pre_mix", fp32),
               .post_mix = golden_output(g, "next_post_mix", fp32),
               .res_mix = golden_output(g, "next_res_mix", fp32),
               .mix = golden_output(g, "next_mix", fp32),
               .inv_rms = golden_output(g, "next_inv_rms", fp32)},
      .h = golden_output(g, "h", layer),
      .norm_weight = golden_input(g, "norm_weight", fp32),
      .norm_eps = golden_number(g, "norm_eps"),
      .fp8_scale_rounding = (int32_t)golden_number(g, "fp8_scale_rounding"),
      .y = golden_output(g, "y", layer),
      .h_fp8 = golden_output(g, "h_fp8", fp8),
      .h_scale = golden_output(g, "h_scale", fp32),
  };
  reserve(context, MHC_OP_BOUNDARY, &args);
  require(mhc_boundary(context, &args));
  const int ok = golden_check(g, "x_next", args.x_next, forward_tolerance) &
                 golden_check(g, "next_pre_mix", args.next.pre_mix, forward_tolerance) &
                 golden_check(g, "next_post_mix", args.next.post_mix, forward_tolerance) &
                 golden_check(g, "next_res_mix", args.next.res_mix, forward_tolerance) &
                 golden_check(g, "h", args.h, forward_tolerance) & golden_check(g, "y", args.y, forward_tolerance) &
                 golden_check(g, "h_fp8", args.h_fp8, 0) &
                 golden_check(g, "h_scale", args.h_scale, fp8_scale_tolerance);
  return ok & check_boundary_backward(context, g, &args);
}

static int check_post(mhc_context* context, golden* g) {
  const mhc_dtype streams = golden_dtype(g, "dtype");
  const mhc_post_args args = {
      .struct_size = sizeof args,
      .orientation = golden_integer(g, "orientation"),
      .x = golden_input(g, "x", streams),
      .f = golden_input(g, "f", golden_dtype(g, "layer_dtype")),
      .post_mix = golden_input(g, "post_mix", fp32),
      .res_mix = golden_input(g, "res_mix", fp32),
      .x_next = golden_output(g, "x_next", streams),
  };
  reserve(context, MHC_OP_POST, &args);
  require(mhc_post(context, &args));
  return golden_check(g, "x_next", args.x_next, forward_tolerance);
}

static int check_sinkhorn(mhc_context* context, golden* g) {
  const mhc_config config = golden_config(g);
  const mhc_sinkhorn_args args = {
      .struct_size = sizeof args,
      .config = &config,
      .logits = golden_input(g, "logits", fp32),
      .out = golden_output(g, "out", fp32),
  };
  reserve(context, MHC_OP_SINKHORN, &args);
  require(mhc_sinkhorn(context, &args));
  return golden_check(g, "out", args.out, forward_tolerance);
}

static int check_fp8_quantize(mhc_context* context, golden* g) {
  const mhc_fp8_quantize_args args = {
      .struct_size = sizeof args,
      .tile = golden_integer(g, "tile"),
      .scale_rounding = golden_integer(g, "scale_rounding"),
      .src = golden_input(g, "src", golden_dtype(g, "dtype")),
      .dst = golden_output(g, "dst", fp8),
      .scale = golden_output(g, "scale", fp32),
  };
  reserve(context, MHC_OP_FP8_QUANTIZE, &args);
  require(mhc_fp8_quantize(context, &args));
  return golden_check(g, "dst", args.dst, 0) & golden_check(g, "scale", args.scale, fp8_scale_tolerance);
}

/* A call that is wrong on purpose: f has one token less than x. It is refused, says why, and writes nothing. */
static int check_refusal(mhc_context* context, golden* g) {
  mhc_tensor* f = golden_input(g, "f", golden_dtype(g, "layer_dtype"));
  f->shape[0] -= 1;
  const mhc_post_args args = {
      .struct_size = sizeof args,
      .orientation = golden_integer(g, "orientation"),
      .x = golden_input(g, "x", golden_dtype(g, "dtype")),
      .f = f,
      .post_mix = golden_input(g, "post_mix", fp32),
      .res_mix = golden_input(g, "res_mix", fp32),
      .x_next = golden_output(g, "x_next", golden_dtype(g, "dtype")),
  };
  const mhc_status status = mhc_post(context, &args);
  printf("  %s: %s\n", mhc_status_name(status), mhc_last_error());
  return status == MHC_INVALID_ARGUMENT && strstr(mhc_last_error(), "f.shape") != NULL;
}

static const struct {
  const char* name;
  int (*check)(mhc_context* context, golden* g);
} cases[] = {
    {"boundary_paper_first", check_boundary},       {"boundary_paper", check_boundary},
    {"boundary_deepseek_v4", check_boundary},       {"boundary_deepseek_v4_1", check_boundary},
    {"boundary_megatron", check_boundary},          {"boundary_transformer_engine", check_boundary},
    {"boundary_liger", check_boundary},             {"boundary_deepseek_v4_mixed", check_boundary},
    {"boundary_paper_norm", check_boundary},        {"boundary_paper_fp8", check_boundary},
    {"boundary_deepseek_v4_1_fp8", check_boundary}, {"post_out_in", check_post},
    {"post_in_out", check_post},                    {"sinkhorn_paper_4", check_sinkhorn},
    {"sinkhorn_deepseek_v4_4", check_sinkhorn},     {"fp8_quantize_row", check_fp8_quantize},
    {"fp8_quantize_square", check_fp8_quantize},    {"post_out_in", check_refusal},
};

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s <directory of golden files>\n", argv[0]);
    return 2;
  }
  if (mhc_abi_version() != MHC_ABI_VERSION) {
    fprintf(stderr, "libmhc has ABI version %d; expected %d\n", (int)mhc_abi_version(), MHC_ABI_VERSION);
    return EXIT_FAILURE;
  }

  mhc_context* context;
  require(mhc_context_create(NULL, &context));
  mhc_context_info info = {.struct_size = sizeof info};
  require(mhc_context_get_info(context, &info));
  printf("libmhc %s on %s, %d threads, %s\n", mhc_version(), info.name, (int)info.threads,
         mhc_cpu_tier_name(info.cpu_tier));

  int wrong = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    printf("%s%s\n", cases[i].name, cases[i].check == check_refusal ? ", with a wrong f" : "");
    golden* g = golden_open(argv[1], cases[i].name);
    wrong += !cases[i].check(context, g);
    golden_close(g);
  }

  require(mhc_context_destroy(context));
  if (mhc_live_bytes() != 0) {
    printf("libmhc still holds %lld bytes\n", (long long)mhc_live_bytes());
    ++wrong;
  }
  if (wrong == 0)
    puts("all cases agree");
  else
    printf("%d cases are wrong\n", wrong);
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
