/* SPDX-License-Identifier: Apache-2.0 */
/* Two layers of a stack, forward: the shortest complete program. */
#include <stdio.h>
#include <stdlib.h>

/* @start region="calls" */
#include <mhc/mhc.h>

enum { T = 64, n = 4, C = 1280, m = n * n + 2 * n }; /* tokens, streams, width, rows of the projection */

static void require(mhc_status status) {
  if (status == MHC_OK) return;
  fprintf(stderr, "%s: %s\n", mhc_status_name(status), mhc_last_error());
  exit(EXIT_FAILURE);
}

static mhc_tensor tensor(float* data, int32_t ndim, int64_t* shape) {
  const mhc_device cpu = {MHC_DEVICE_CPU, 0};
  const mhc_dtype fp32 = {MHC_DTYPE_FLOAT, 32, 1};
  return (mhc_tensor){.data = data, .device = cpu, .ndim = ndim, .dtype = fp32, .shape = shape};
}

static void forward(float* x_data, float* h_data, const mhc_parameters* layer0, const mhc_parameters* layer1,
                    void (*attention)(float* h, float* f)) {
  static float f_data[T * C], pre_data[2][T * n], post_data[2][T * n], res_data[2][T * n * n];
  int64_t streams_shape[] = {T, n, C}, layer_shape[] = {T, C}, mix_shape[] = {T, n, n};
  mhc_tensor x = tensor(x_data, 3, streams_shape);
  mhc_tensor h = tensor(h_data, 2, layer_shape), f = tensor(f_data, 2, layer_shape);
  mhc_tensor pre[2], post[2], res[2];
  for (int l = 0; l < 2; ++l) {
    pre[l] = tensor(pre_data[l], 2, mix_shape);
    post[l] = tensor(post_data[l], 2, mix_shape);
    res[l] = tensor(res_data[l], 3, mix_shape);
  }

  mhc_context* context;
  require(mhc_context_create(NULL, &context)); /* this CPU, all its threads, its best vector code */
  mhc_config config;
  require(mhc_config_init(&config, MHC_PRESET_DEEPSEEK_V4, n));

  /* Into layer 0: its coefficients, and h from the residual. */
  mhc_boundary_args args = {.struct_size = sizeof args, .config = &config, .parameters = *layer0, .x = &x, .h = &h,
                            .next = {.pre_mix = &pre[0], .post_mix = &post[0], .res_mix = &res[0]}};
  size_t bytes;
  require(mhc_workspace_size(context, MHC_OP_BOUNDARY, &args, &bytes));
  require(mhc_context_reserve(context, bytes));
  require(mhc_boundary(context, &args));

  attention(h_data, f_data); /* yours */

  /* From layer 0 into layer 1, in one pass: the residual in place, layer 1's coefficients, and h. */
  args.parameters = *layer1;
  args.f = &f, args.post_mix = &post[0], args.res_mix = &res[0], args.x_next = &x;
  args.next = (mhc_coefficient_set){.pre_mix = &pre[1], .post_mix = &post[1], .res_mix = &res[1]};
  require(mhc_workspace_size(context, MHC_OP_BOUNDARY, &args, &bytes));
  require(mhc_context_reserve(context, bytes));
  require(mhc_boundary(context, &args));

  require(mhc_context_destroy(context));
}
/* @end */

static float small(void) { return (float)rand() / (float)RAND_MAX - 0.5f; }

static void attention(float* h, float* f) {
  for (int i = 0; i < T * C; ++i) f[i] = h[i] / 2;
}

int main(void) {
  static float x[T * n * C], h[T * C], projection[m * n * C], bias[m];
  float scale[] = {0.01f, 0.01f, 0.01f};
  for (int i = 0; i < T * n * C; ++i) x[i] = small();
  for (int i = 0; i < m * n * C; ++i) projection[i] = small() / 32;
  int64_t projection_shape[] = {m, n * C}, scale_shape[] = {3}, bias_shape[] = {m};
  mhc_tensor tensors[] = {tensor(projection, 2, projection_shape), tensor(scale, 1, scale_shape),
                          tensor(bias, 1, bias_shape)};
  const mhc_parameters parameters = {.projection = &tensors[0], .scale = &tensors[1], .bias = &tensors[2]};

  const float before = x[0];
  forward(x, h, &parameters, &parameters, attention);
  printf("libmhc %s: x[0,0,0] went from %g to %g, and h[0,0] is %g\n", mhc_version(), (double)before, (double)x[0],
         (double)h[0]);
  return EXIT_SUCCESS;
}
