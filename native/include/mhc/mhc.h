/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mhc - Manifold-Constrained Hyper-Connections (arXiv 2512.24880) as a native library.
 *
 * Words used throughout
 *   T  tokens   independent rows of work, any number from 0
 *   n  streams  how many copies of the residual are carried, 1 ... 16
 *   C  width    channels of one stream, any number from 1
 *   m           mix_count: rows of the projection, n*n + 2n (n! + 2n for MHC_MODE_MHC_LITE), ordered pre, post, res
 *   F           the layer function (attention, FFN); it belongs to the caller: h goes in, f comes out, both [T, C]
 *   boundary    everything between F of layer l and F of layer l+1
 *
 * Forward, per token
 *   mix      = (x . projection^T) / r,   r = ||x|| / sqrt(nC)
 *   pre_mix  = sigmoid(scale[0] * mix_pre  + bias_pre) + pre_eps
 *   post_mix = post_multiplier * sigmoid(scale[1] * mix_post + bias_post)
 *   res_mix  = Sinkhorn(scale[2] * mix_res + bias_res)
 *   h        = sum_i pre_mix[i] * x[i]
 *   x_next[o]= sum_i H_res[o][i] * x[i] + post_mix[o] * f
 *
 * Conventions of this header
 *   - Every function that can fail returns mhc_status. On anything but MHC_OK, mhc_last_error() holds a sentence that
 *     names the function, the argument, its value and what was expected; outputs are untouched, but for MHC_DEVICE_ERROR,
 *     after which they are undefined.
 *   - Tensors are descriptors laid out exactly as DLPack's DLTensor. Strides are honoured; the last dimension has to be
 *     contiguous unless said otherwise. Data has to be aligned to its element, nothing more.
 *   - Streams ([T, n, C]) and layer tensors ([T, C]) are bfloat16, float16 or float32: all of one type, or streams in
 *     float32 with layer tensors in bfloat16 or float16. Everything else is float32 unless said otherwise, and so is
 *     every accumulation.
 *   - f may also be float8_e4m3fn, with f_scale [T, ceil(C/128)] float32 or float8_e8m0fnu of any strides: an operation then
 *     works with f * f_scale of its 1x128 tile in float32, as mhc_fp8_dequantize gives it. A C of its traffic is a byte an
 *     element and the scales. d_f is a gradient with respect to these products, and no FP8: it has the layer tensors' type.
 *   - An output overlaps neither an input nor another output, unless said otherwise.
 *   - Argument blocks begin with struct_size, to be set to sizeof the struct; zero every field that you do not set. A block
 *     that ends before f_scale, as in the first headers, is one without it.
 *   - NULL for a tensor marked "optional" means: not given, not wanted.
 *   - Results do not depend on the number of threads or on which other tokens are in the batch: same token, same bits.
 *     Gradients of parameters are sums over tokens, taken in an order that depends on T alone; on a GPU also on its number
 *     of multiprocessors, so that their last bits may differ between two kinds of GPU.
 */
#ifndef MHC_MHC_H
#define MHC_MHC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MHC_API __declspec(dllimport)
#else
#define MHC_API __attribute__((visibility("default")))
#endif

/* ------------------------------------------------------------------------------------------------ version, status */

#define MHC_VERSION_MAJOR 0
#define MHC_VERSION_MINOR 1
#define MHC_VERSION_PATCH 0
/* Raised whenever a program built against an older header could misbehave. */
#define MHC_ABI_VERSION 1

typedef enum mhc_status {
  MHC_OK = 0,
  MHC_INVALID_ARGUMENT = 1,    /* the call is wrong; nothing was done */
  MHC_UNSUPPORTED = 2,         /* the call is right, but this device or build cannot do it */
  MHC_WORKSPACE_TOO_SMALL = 3, /* mhc_context_reserve has to be called first; the message says with how many bytes */
  MHC_OUT_OF_MEMORY = 4,
  MHC_DEVICE_ERROR = 5,        /* CUDA failed; what a kernel does wrong may come up in a later call */
  MHC_LIBRARY_NOT_FOUND = 6, /* a backend's library could not be opened; the message lists the places tried */
  MHC_INTERNAL = 7
} mhc_status;

/* "major.minor.patch" of the library that is loaded. */
MHC_API const char* mhc_version(void);
/* MHC_ABI_VERSION of the library that is loaded. */
MHC_API int32_t mhc_abi_version(void);
/* The enumerator's name, "MHC_OK" ...; "MHC_STATUS_UNKNOWN" for a number that is none. */
MHC_API const char* mhc_status_name(int32_t status);
/* The sentence for this thread's last failed call; "" before the first. Valid until this thread's next failed call. */
MHC_API const char* mhc_last_error(void);
/* Bytes the library holds at this moment, all contexts together. 0 once every context is destroyed. */
MHC_API int64_t mhc_live_bytes(void);

/* -------------------------------------------------------------------------------------------------------- tensors */

/* Values of DLDeviceType. */
typedef enum mhc_device_type { MHC_DEVICE_CPU = 1, MHC_DEVICE_CUDA = 2, MHC_DEVICE_CUDA_HOST = 3 } mhc_device_type;

/* Values of DLDataTypeCode. */
typedef enum mhc_dtype_code {
  MHC_DTYPE_INT = 0,
  MHC_DTYPE_UINT = 1,
  MHC_DTYPE_FLOAT = 2,
  MHC_DTYPE_BFLOAT = 4,
  MHC_DTYPE_FLOAT8_E4M3FN = 10,
  MHC_DTYPE_FLOAT8_E8M0FNU = 14
} mhc_dtype_code;

/* DLDevice */
typedef struct mhc_device {
  int32_t device_type; /* mhc_device_type */
  int32_t device_id;
} mhc_device;

/* DLDataType */
typedef struct mhc_dtype {
  uint8_t code; /* mhc_dtype_code */
  uint8_t bits;
  uint16_t lanes; /* 1 */
} mhc_dtype;

/* DLTensor. strides count elements; NULL means compact row-major. */
typedef struct mhc_tensor {
  void* data;
  mhc_device device;
  int32_t ndim;
  mhc_dtype dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
} mhc_tensor;

/* -------------------------------------------------------------------------------------------------------- context */

/* A context owns a device's threads and workspace. One call at a time runs in a context (further callers wait);
 * different contexts run concurrently. */
typedef struct mhc_context mhc_context;

/* Vector code of the CPU backend. COUNTING is plain code on one thread that also counts what it moves.
 * AVX512_BF16 rounds by an instruction that takes subnormal numbers, below 2^-126, to a bfloat16 zero. */
typedef enum mhc_cpu_tier {
  MHC_CPU_TIER_AUTO = 0, /* the best one this CPU can run */
  MHC_CPU_TIER_PLAIN = 1,
  MHC_CPU_TIER_NEON = 2,
  MHC_CPU_TIER_AVX2 = 3,
  MHC_CPU_TIER_AVX512 = 4,
  MHC_CPU_TIER_AVX512_BF16 = 5,
  MHC_CPU_TIER_COUNTING = 6
} mhc_cpu_tier;

typedef struct mhc_context_options {
  size_t struct_size;
  mhc_device device; /* zero: CPU 0 */
  int32_t threads;   /* 0: as many as the process may use; at most 1024. Of a CPU */
  int32_t cpu_tier;  /* mhc_cpu_tier. Of a CPU */
  size_t workspace;  /* bytes to reserve at once; 0: none */
} mhc_context_options;

typedef struct mhc_context_info {
  size_t struct_size; /* set before the call */
  mhc_device device;
  int32_t threads;  /* 0 on a GPU, as is cpu_tier */
  int32_t cpu_tier;
  size_t workspace; /* bytes reserved */
  char name[128];   /* the device in words */
} mhc_context_info;

/* Bytes of tensor arguments that the last operation of a context loaded and stored, counted at each load and store.
 * Its own scratch, a few tokens' rows that stay in the second-level cache, is not memory traffic and is bounded by
 * scratch_bytes. MHC_CPU_TIER_COUNTING counts. */
typedef struct mhc_traffic {
  size_t struct_size; /* set before the call */
  uint64_t row_bytes_read; /* of tensors whose last dimension is C and that have a T: the traffic ledger */
  uint64_t row_bytes_written;
  uint64_t coefficient_bytes_read; /* of the small per-token tensors */
  uint64_t coefficient_bytes_written;
  uint64_t parameter_bytes_read; /* of tensors without a T, with every re-reading */
  uint64_t parameter_bytes_written;
  uint64_t scratch_bytes; /* workspace of one thread, parameter gradients aside */
} mhc_traffic;

/* options may be NULL. A CUDA device needs libmhc_cuda.so, which is looked for where MHC_CUDA_LIBRARY in the environment
 * points to, else beside this library, else by the system's loader: MHC_LIBRARY_NOT_FOUND lists the places. A CUDA context
 * computes on the stream of each call, and its workspace serves one stream at a time; streams that run at once want a
 * context each. */
MHC_API mhc_status mhc_context_create(const mhc_context_options* options, mhc_context** context);
/* NULL does nothing. No call may be running in the context. */
MHC_API mhc_status mhc_context_destroy(mhc_context* context);
/* What a context is and has; it does not change but for workspace. */
MHC_API mhc_status mhc_context_get_info(mhc_context* context, mhc_context_info* info);
/* Grows the workspace to at least this many bytes; never shrinks it. Operations themselves allocate nothing. On a GPU growing
 * is refused while a stream is captured, and the memory that it outgrows stays until the context ends, since graphs that were
 * captured before use it. A graph keeps using the workspace of its context: capture with one that lives as long as the graph
 * and runs nothing else at the same time. */
MHC_API mhc_status mhc_context_reserve(mhc_context* context, size_t bytes);
/* MHC_UNSUPPORTED of a context that does not count. */
MHC_API mhc_status mhc_context_get_traffic(mhc_context* context, mhc_traffic* traffic);
/* How many devices of a type can be used, 0 if none. */
MHC_API int32_t mhc_device_count(int32_t device_type);
/* Bit 1 << tier is set for each mhc_cpu_tier that is built in and that this CPU can run. */
MHC_API uint32_t mhc_cpu_tiers(void);
/* "avx512_bf16" ...; "unknown" for a number that is no tier. */
MHC_API const char* mhc_cpu_tier_name(int32_t tier);

/* --------------------------------------------------------------------------------------------------------- config */

typedef enum mhc_mode {
  MHC_MODE_RESIDUAL = 0, /* pre = 1/n, post = 1, res = identity: the plain residual, n times. No parameters */
  MHC_MODE_HC = 1,       /* unconstrained: scale * tanh(mix) + bias for all three (paper Eq. 5) */
  MHC_MODE_MHC = 2,      /* Sinkhorn (paper Eq. 8) */
  MHC_MODE_MHC_LITE = 3  /* res = softmax over the n! permutation matrices in lexicographic order, n <= 5 (2601.05732) */
} mhc_mode;

/* What the alternation starts from; L are the n x n logits as stored, rows are their first index. */
typedef enum mhc_sinkhorn_start {
  MHC_SINKHORN_EXP = 0,              /* exp(L), computed without overflow */
  MHC_SINKHORN_EXP_MINUS_ROW_MAX = 1, /* exp(L - max of its row) */
  MHC_SINKHORN_SOFTMAX_PLUS_EPS = 2  /* softmax of each row, plus eps; with ROWS_FIRST it is the first half-step */
} mhc_sinkhorn_start;

/* Order of the two half-steps of an iteration; the second one's sums are exact at the end. */
typedef enum mhc_sinkhorn_order { MHC_SINKHORN_COLUMNS_FIRST = 0, MHC_SINKHORN_ROWS_FIRST = 1 } mhc_sinkhorn_order;

/* How eps enters a division by a sum s. */
typedef enum mhc_eps_mode { MHC_EPS_NONE = 0, MHC_EPS_ADD = 1, MHC_EPS_CLAMP = 2 } mhc_eps_mode; /* s, s+eps, max(s,eps) */

/* Which index of a stored res_mix is the output stream. H_res[o][i] is res_mix[o][i] or res_mix[i][o]. */
typedef enum mhc_orientation { MHC_OUT_IN = 0, MHC_IN_OUT = 1 } mhc_orientation;

/* 1/r = 1/sqrt(mean(x^2) + eps) or 1/(sqrt(mean(x^2)) + eps) */
typedef enum mhc_rms_eps_mode { MHC_RMS_EPS_INSIDE = 0, MHC_RMS_EPS_OUTSIDE = 1 } mhc_rms_eps_mode;

/* How the product x . projection^T may round its factors; sums are float32. FULL keeps them to 22 bits or more: the error of a
 * mix is that of a float32 sum. TF32 allows a projection rounded to TF32's 11 bits: up to 2^-11 of sum |x| |projection| / r. A GPU's
 * tensor cores then take one product instead of two, for x in 16 bits, n = 4 and MHC_MODE_MHC; where rows in memory are the limit
 * nothing is gained, so measure. What computes otherwise, a CPU too, may be more exact. Gradients are always in full. */
typedef enum mhc_projection_precision { MHC_PROJECTION_FULL = 0, MHC_PROJECTION_TF32 = 1 } mhc_projection_precision;

/* 128 bytes, of which later versions may use what is reserved: mhc_config_init writes all of them. */
typedef struct mhc_config {
  size_t struct_size;
  int32_t streams;           /* n, 1 ... 16 */
  int32_t mode;              /* mhc_mode */
  int32_t is_static;         /* 0: coefficients from x; 1: from bias alone (mix = 0), the same for every token */
  int32_t shifted;           /* 1: h of layer l+1 uses the pre_mix that the previous boundary computed (single pass, V4.1) */
  int32_t iterations;        /* of Sinkhorn, 1 ... 1000 */
  int32_t sinkhorn_start;    /* mhc_sinkhorn_start */
  int32_t sinkhorn_order;    /* mhc_sinkhorn_order */
  int32_t sinkhorn_eps_mode; /* mhc_eps_mode */
  int32_t orientation;       /* mhc_orientation */
  int32_t rms_eps_mode;      /* mhc_rms_eps_mode */
  float sinkhorn_eps;        /* >= 0 */
  float rms_eps;             /* >= 0 */
  float pre_eps;             /* >= 0, added to pre_mix in MHC_MODE_MHC and MHC_MODE_MHC_LITE */
  float post_multiplier;     /* > 0, in MHC_MODE_MHC and MHC_MODE_MHC_LITE */
  int32_t projection_precision; /* mhc_projection_precision */
  int32_t reserved[15];      /* 0 */
} mhc_config;

/* The conventions of the public code bases; they are not interchangeable. All: MHC_MODE_MHC, dynamic, 20 iterations,
 * post_multiplier 2.
 *                       start               order         eps              orientation rms eps             pre_eps shifted
 *   PAPER               exp                 columns, rows none             [out,in]    inside 1e-20        0       no
 *   DEEPSEEK_V4         softmax + eps       rows, columns add 1e-6         [in,out]    inside 1e-6         1e-6    no
 *   DEEPSEEK_V4_1       softmax + eps       rows, columns add 1e-6         [in,out]    inside 1e-20        1e-6    yes
 *   MEGATRON            exp minus row max   rows, columns clamp 1e-6       [out,in]    outside 1e-6        0       no
 *   TRANSFORMER_ENGINE  exp                 rows, columns none             [in,out]    inside 2^-23        0       no
 *   LIGER               softmax + eps       rows, columns add 1e-6         [out,in]    inside 1e-6         0       no  */
typedef enum mhc_preset {
  MHC_PRESET_PAPER = 0,
  MHC_PRESET_DEEPSEEK_V4 = 1,
  MHC_PRESET_DEEPSEEK_V4_1 = 2,
  MHC_PRESET_MEGATRON = 3,
  MHC_PRESET_TRANSFORMER_ENGINE = 4,
  MHC_PRESET_LIGER = 5
} mhc_preset;

/* Fills the whole config, struct_size included. */
MHC_API mhc_status mhc_config_init(mhc_config* config, int32_t preset, int32_t streams);
/* m, the rows of the projection; 0 for MHC_MODE_RESIDUAL. */
MHC_API mhc_status mhc_config_mix_count(const mhc_config* config, int64_t* mix_count);

/* What one layer has learned; all float32. Unused in MHC_MODE_RESIDUAL; static coefficients need bias alone. */
typedef struct mhc_parameters {
  const mhc_tensor* projection;  /* [m, nC]; column i*C + c meets channel c of stream i */
  const mhc_tensor* scale;       /* [3]: pre, post, res */
  const mhc_tensor* bias;        /* [m] */
  const mhc_tensor* norm_weight; /* [nC], optional: multiplies x in the product; fold it into projection if you can */
} mhc_parameters;

/* Gradients of the same, all float32, all optional. */
typedef struct mhc_parameter_gradients {
  mhc_tensor* projection;
  mhc_tensor* scale;
  mhc_tensor* bias;
  mhc_tensor* norm_weight;
} mhc_parameter_gradients;

/* Coefficients of one layer, all float32. */
typedef struct mhc_coefficient_set {
  mhc_tensor* pre_mix;  /* [T, n] */
  mhc_tensor* post_mix; /* [T, n] */
  mhc_tensor* res_mix;  /* [T, n, n], stored as config.orientation says */
  mhc_tensor* mix;      /* [T, m], optional: x . projection^T / r, before scale and bias; the backward wants it */
  mhc_tensor* inv_rms;  /* [T], optional: 1/r; the backward wants it */
} mhc_coefficient_set;

/* Which gradients are added to what their buffers hold, instead of written. */
typedef enum mhc_accumulate { MHC_ACCUMULATE_NONE = 0, MHC_ACCUMULATE_PARAMETERS = 1, MHC_ACCUMULATE_INPUTS = 2 } mhc_accumulate;

/* ---------------------------------------------------------------------------------------------------- operations */
/* Each is mhc_<operation>(context, args). stream: the CUDA stream to run on; NULL on the CPU. */

/* Workspace that an operation needs, for mhc_context_reserve. args is that operation's block with its shapes; data
 * pointers are not looked at. What is wrong with it comes back as from the operation, and under its name. */
typedef enum mhc_operation {
  MHC_OP_COEFFICIENTS = 0,
  MHC_OP_COEFFICIENTS_BACKWARD = 1,
  MHC_OP_SINKHORN = 2,
  MHC_OP_SINKHORN_BACKWARD = 3,
  MHC_OP_PRE = 4,
  MHC_OP_PRE_BACKWARD = 5,
  MHC_OP_POST = 6,
  MHC_OP_POST_BACKWARD = 7,
  MHC_OP_BOUNDARY = 8,
  MHC_OP_BOUNDARY_BACKWARD = 9,
  MHC_OP_EXPAND = 10,
  MHC_OP_EXPAND_BACKWARD = 11,
  MHC_OP_HEAD = 12,
  MHC_OP_HEAD_BACKWARD = 13,
  MHC_OP_RMSNORM = 14,
  MHC_OP_RMSNORM_BACKWARD = 15,
  MHC_OP_FP8_QUANTIZE = 16,
  MHC_OP_FP8_DEQUANTIZE = 17,
  MHC_OP_GAIN = 18,
  MHC_OP_DOUBLY_STOCHASTIC_DISTANCE = 19,
  MHC_OP_BIRKHOFF = 20,
  MHC_OP_RECOMPUTE = 21
} mhc_operation;

MHC_API mhc_status mhc_workspace_size(mhc_context* context, int32_t operation, const void* args, size_t* bytes);

/* Coefficients of a layer from its residual (paper Eq. 14-19). Traffic: reads nC. */
typedef struct mhc_coefficients_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  mhc_parameters parameters;
  const mhc_tensor* x;      /* [T, n, C] */
  mhc_coefficient_set out;  /* pre_mix, post_mix, res_mix required */
} mhc_coefficients_args;
MHC_API mhc_status mhc_coefficients(mhc_context* context, const mhc_coefficients_args* args);

/* With dz the gradient of scale * mix + bias, which sigmoid, tanh, softmax or Sinkhorn make of those of the coefficients, and
 * d_mix = scale * dz: d_bias = sum dz and d_scale = sum <dz, mix> of each part, d_projection = sum (d_mix / r) x, sums over
 * tokens; d_x = (d_mix / r) . projection - x * <d_mix, mix> / (nC r^2), with MHC_RMS_EPS_OUTSIDE (nC r rms) for the last.
 * Where norm_weight is given, x is x * norm_weight in the product. Traffic: reads nC (2nC to accumulate), writes nC. */
typedef struct mhc_coefficients_backward_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  mhc_parameters parameters;
  int32_t accumulate;            /* mhc_accumulate, or-ed: INPUTS is d_x */
  const mhc_tensor* x;           /* [T, n, C] */
  const mhc_tensor* mix;         /* [T, m]; not needed when static */
  const mhc_tensor* inv_rms;     /* [T]; not needed when static */
  const mhc_tensor* d_pre_mix;   /* [T, n], optional: zero; so the next two */
  const mhc_tensor* d_post_mix;  /* [T, n] */
  const mhc_tensor* d_res_mix;   /* [T, n, n] */
  mhc_tensor* d_x;               /* [T, n, C], type of x, optional */
  mhc_parameter_gradients d_parameters;
} mhc_coefficients_backward_args;
MHC_API mhc_status mhc_coefficients_backward(mhc_context* context, const mhc_coefficients_backward_args* args);

/* Alternating normalisation (paper Eq. 9) of a batch of square matrices by config's iterations and sinkhorn_* fields
 * (its other fields are not looked at). k <= 16 runs in registers; a larger k is tiled and runs in the log domain. */
typedef struct mhc_sinkhorn_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  const mhc_tensor* logits; /* [B, k, k] float32, k from 1 */
  mhc_tensor* out;          /* [B, k, k] float32 */
} mhc_sinkhorn_args;
MHC_API mhc_status mhc_sinkhorn(mhc_context* context, const mhc_sinkhorn_args* args);

/* The iterates are recomputed and walked back; none is stored by the forward. A half-step P = Q / s, s the sums along one
 * index with eps as its mode says, has dQ = (dP - sum of dP * P along it) / s; where the clamp holds, dQ = dP / eps. */
typedef struct mhc_sinkhorn_backward_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  int32_t accumulate;       /* INPUTS is d_logits */
  const mhc_tensor* logits; /* [B, k, k] float32 */
  const mhc_tensor* d_out;  /* [B, k, k] float32 */
  mhc_tensor* d_logits;     /* [B, k, k] float32 */
} mhc_sinkhorn_backward_args;
MHC_API mhc_status mhc_sinkhorn_backward(mhc_context* context, const mhc_sinkhorn_backward_args* args);

/* h = sum_i pre_mix[i] * x[i]. Traffic: reads nC, writes C. */
typedef struct mhc_pre_args {
  size_t struct_size;
  void* stream;
  const mhc_tensor* x;       /* [T, n, C] */
  const mhc_tensor* pre_mix; /* [T, n] float32 */
  mhc_tensor* h;             /* [T, C] */
} mhc_pre_args;
MHC_API mhc_status mhc_pre(mhc_context* context, const mhc_pre_args* args);

/* d_x[i] = pre_mix[i] * d_h;  d_pre_mix[i] = <x[i], d_h>. Traffic: reads (n+1)C, writes nC. */
typedef struct mhc_pre_backward_args {
  size_t struct_size;
  void* stream;
  int32_t accumulate;        /* INPUTS is d_x; d_pre_mix is always written */
  const mhc_tensor* x;       /* [T, n, C] */
  const mhc_tensor* pre_mix; /* [T, n] */
  const mhc_tensor* d_h;     /* [T, C], type of h */
  mhc_tensor* d_x;           /* [T, n, C], type of x, optional */
  mhc_tensor* d_pre_mix;     /* [T, n], optional */
} mhc_pre_backward_args;
MHC_API mhc_status mhc_pre_backward(mhc_context* context, const mhc_pre_backward_args* args);

/* x_next[o] = sum_i H_res[o][i] * x[i] + post_mix[o] * f. Traffic: reads (n+1)C, writes nC.
 * x_next may be x itself (same data, same strides). With f of float8_e4m3fn: bit for bit what x and the dequantised f give in
 * float32, rounded to the type of x. */
typedef struct mhc_post_args {
  size_t struct_size;
  void* stream;
  int32_t orientation;        /* mhc_orientation of res_mix */
  const mhc_tensor* x;        /* [T, n, C] */
  const mhc_tensor* f;        /* [T, C], of a layer tensor's type or float8_e4m3fn */
  const mhc_tensor* post_mix; /* [T, n] */
  const mhc_tensor* res_mix;  /* [T, n, n] */
  mhc_tensor* x_next;         /* [T, n, C], type of x */
  const mhc_tensor* f_scale;  /* [T, ceil(C/128)] float32 or float8_e8m0fnu, any strides; with f of float8_e4m3fn */
} mhc_post_args;
MHC_API mhc_status mhc_post(mhc_context* context, const mhc_post_args* args);

/* d_x[i] = sum_o H_res[o][i] * d_x_next[o];  d_f = sum_o post_mix[o] * d_x_next[o];
 * d_post_mix[o] = <d_x_next[o], f>;  dH_res[o][i] = <d_x_next[o], x[i]>. Reads (2n+1)C, writes (n+1)C.
 * d_x may be d_x_next itself. */
typedef struct mhc_post_backward_args {
  size_t struct_size;
  void* stream;
  int32_t orientation;
  int32_t accumulate;         /* INPUTS is d_x and d_f; d_post_mix and d_res_mix are always written */
  const mhc_tensor* x;        /* [T, n, C] */
  const mhc_tensor* f;        /* [T, C], of a layer tensor's type or float8_e4m3fn */
  const mhc_tensor* post_mix; /* [T, n] */
  const mhc_tensor* res_mix;  /* [T, n, n] */
  const mhc_tensor* d_x_next; /* [T, n, C], type of x */
  mhc_tensor* d_x;            /* [T, n, C], type of x, optional */
  mhc_tensor* d_f;            /* [T, C], type of f; where that is FP8 any that goes with x; optional */
  mhc_tensor* d_post_mix;     /* [T, n], optional */
  mhc_tensor* d_res_mix;      /* [T, n, n], optional */
  const mhc_tensor* f_scale;  /* as in the forward */
} mhc_post_backward_args;
MHC_API mhc_status mhc_post_backward(mhc_context* context, const mhc_post_backward_args* args);

/* How an FP8 scale is rounded. POWER_OF_TWO rounds up, so that the largest value still fits. */
typedef enum mhc_fp8_scale { MHC_FP8_SCALE_EXACT = 0, MHC_FP8_SCALE_POWER_OF_TWO = 1 } mhc_fp8_scale;

/* The boundary in one pass: post of layer l, coefficients of layer l+1, pre of layer l+1. Bit for bit what mhc_post,
 * mhc_coefficients, mhc_pre, mhc_rmsnorm and mhc_fp8_quantize give one after the other: x_next, h and y are rounded to
 * their type before they are used further. Traffic: reads (n+1)C, writes (n+1)C.
 * Without f (the first layer) there is no post: x is the residual that enters layer l+1, x_next is not written. */
typedef struct mhc_boundary_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;          /* of layer l+1; its orientation also reads res_mix */
  mhc_parameters parameters;         /* of layer l+1 */
  const mhc_tensor* x;               /* [T, n, C], the residual that entered layer l */
  const mhc_tensor* f;               /* [T, C], output of F of layer l, of h's type or float8_e4m3fn; optional, together with
                                        the next three */
  const mhc_tensor* post_mix;        /* [T, n], of layer l */
  const mhc_tensor* res_mix;         /* [T, n, n], of layer l */
  mhc_tensor* x_next;                /* [T, n, C], type of x; may be x itself */
  const mhc_tensor* shifted_pre_mix; /* [T, n]: what h uses when config.shifted; not given otherwise */
  mhc_coefficient_set next;          /* of layer l+1; pre_mix, post_mix, res_mix required */
  mhc_tensor* h;                     /* [T, C]; optional if y or h_fp8 is given */
  const mhc_tensor* norm_weight;     /* [C] float32, optional: y = h / sqrt(mean(h^2) + norm_eps) * norm_weight */
  float norm_eps;                    /* >= 0 */
  int32_t fp8_scale_rounding;        /* mhc_fp8_scale */
  mhc_tensor* y;                     /* [T, C], type of h, optional; needs norm_weight */
  mhc_tensor* h_fp8;                 /* [T, C] float8_e4m3fn, optional: y (h without norm_weight) quantised by 1x128 tiles */
  mhc_tensor* h_scale;               /* [T, ceil(C/128)] float32 or float8_e8m0fnu, any strides; with h_fp8 */
  const mhc_tensor* f_scale;         /* [T, ceil(C/128)] float32 or float8_e8m0fnu, any strides; with f of float8_e4m3fn */
} mhc_boundary_args;
MHC_API mhc_status mhc_boundary(mhc_context* context, const mhc_boundary_args* args);

/* Backward of the boundary in one pass; x_{l+1} is rebuilt from x and f. Reads (2n+2)C, writes (n+1)C. With dh the gradient of
 * h (of y taken back through RMSNorm, where there is one): dg[i] = <x_{l+1}[i], dh> is that of pre_mix, next's own or the
 * shifted one; D = d_x_next + pre_mix * dh + what mhc_coefficients_backward makes of the gradients of next at x_{l+1}; and
 * d_x, d_f, d_post_mix, d_res_mix are what mhc_post_backward makes of D (without f: d_x = D).
 * The rounding of x_next and h to their type has derivative 1. */
typedef struct mhc_boundary_backward_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;          /* of layer l+1 */
  mhc_parameters parameters;         /* of layer l+1 */
  int32_t accumulate;                /* mhc_accumulate, or-ed: INPUTS is d_x and d_f */
  float norm_eps;                    /* as in the forward */
  const mhc_tensor* x;               /* as in the forward, down to norm_weight */
  const mhc_tensor* f;
  const mhc_tensor* post_mix;
  const mhc_tensor* res_mix;
  const mhc_tensor* shifted_pre_mix;
  const mhc_tensor* norm_weight;
  const mhc_tensor* mix;             /* [T, m], saved by the forward; not needed when static */
  const mhc_tensor* inv_rms;         /* [T], saved by the forward; not needed when static */
  const mhc_tensor* d_h;             /* [T, C], layer type; of h (of y where norm_weight is given) */
  const mhc_tensor* d_x_next;        /* [T, n, C], what reaches x_{l+1} from later layers; optional: zero */
  const mhc_tensor* d_pre_mix_next;  /* [T, n], of next.pre_mix when config.shifted; not given otherwise; optional: zero */
  const mhc_tensor* d_post_mix_next; /* [T, n], of next.post_mix; optional: zero */
  const mhc_tensor* d_res_mix_next;  /* [T, n, n], of next.res_mix; optional: zero */
  mhc_tensor* d_x;                   /* [T, n, C], type of x; may be d_x_next itself */
  mhc_tensor* d_f;                   /* [T, C], type of d_h; with f */
  mhc_tensor* d_post_mix;            /* [T, n], of layer l; with f */
  mhc_tensor* d_res_mix;             /* [T, n, n], of layer l; with f */
  mhc_tensor* d_shifted_pre_mix;     /* [T, n], optional */
  mhc_tensor* d_norm_weight;         /* [C], optional; accumulated with PARAMETERS */
  mhc_parameter_gradients d_parameters;
  const mhc_tensor* f_scale;         /* as in the forward */
} mhc_boundary_backward_args;
MHC_API mhc_status mhc_boundary_backward(mhc_context* context, const mhc_boundary_backward_args* args);

/* x[i] = embedding for each stream i. Traffic: reads C, writes nC. */
typedef struct mhc_expand_args {
  size_t struct_size;
  void* stream;
  const mhc_tensor* embedding; /* [T, C] */
  mhc_tensor* x;               /* [T, n, C] */
} mhc_expand_args;
MHC_API mhc_status mhc_expand(mhc_context* context, const mhc_expand_args* args);

/* d_embedding = sum_i d_x[i]. Traffic: reads nC, writes C. */
typedef struct mhc_expand_backward_args {
  size_t struct_size;
  void* stream;
  int32_t accumulate;    /* INPUTS is d_embedding */
  const mhc_tensor* d_x; /* [T, n, C] */
  mhc_tensor* d_embedding; /* [T, C] */
} mhc_expand_backward_args;
MHC_API mhc_status mhc_expand_backward(mhc_context* context, const mhc_expand_backward_args* args);

typedef enum mhc_head_kind {
  MHC_HEAD_WEIGHTED = 0, /* weights = sigmoid(scale[0] * (x . projection^T) / r + bias) + pre_eps */
  MHC_HEAD_MEAN = 1,
  MHC_HEAD_SUM = 2
} mhc_head_kind;

/* y = sum_i weights[i] * x[i], from n streams to one at the end of the network. Traffic: reads nC, writes C. */
typedef struct mhc_head_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;  /* its rms_eps, rms_eps_mode and pre_eps count, for MHC_HEAD_WEIGHTED */
  int32_t kind;              /* mhc_head_kind */
  const mhc_tensor* projection; /* [n, nC] float32, MHC_HEAD_WEIGHTED only, as the next two */
  const mhc_tensor* scale;      /* [1] */
  const mhc_tensor* bias;       /* [n] */
  const mhc_tensor* x;          /* [T, n, C] */
  mhc_tensor* y;                /* [T, C] */
  mhc_tensor* mix;              /* [T, n], optional: (x . projection^T) / r */
  mhc_tensor* inv_rms;          /* [T], optional */
} mhc_head_args;
MHC_API mhc_status mhc_head(mhc_context* context, const mhc_head_args* args);

/* With w the weights, d_mix[i] = scale[0] * sigmoid'(logit[i]) * <x[i], d_y>:
 * d_x = w d_y + the gradient of mix through the product and r;  d_projection = sum over tokens of (d_mix / r) x.
 * Reads (n+1)C, writes nC; for MHC_HEAD_MEAN and MHC_HEAD_SUM reads C, writes nC. */
typedef struct mhc_head_backward_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  int32_t kind;
  int32_t accumulate; /* mhc_accumulate, or-ed: INPUTS is d_x */
  const mhc_tensor* projection;
  const mhc_tensor* scale;
  const mhc_tensor* bias;
  const mhc_tensor* x;       /* [T, n, C]; optional unless MHC_HEAD_WEIGHTED */
  const mhc_tensor* mix;     /* [T, n], saved by the forward */
  const mhc_tensor* inv_rms; /* [T], saved by the forward */
  const mhc_tensor* d_y;     /* [T, C] */
  mhc_tensor* d_x;           /* [T, n, C], type of x */
  mhc_tensor* d_projection;  /* [n, nC], optional, as the next two */
  mhc_tensor* d_scale;       /* [1] */
  mhc_tensor* d_bias;        /* [n] */
} mhc_head_backward_args;
MHC_API mhc_status mhc_head_backward(mhc_context* context, const mhc_head_backward_args* args);

/* y = x / sqrt(mean(x^2) + eps) * weight. Traffic: reads C, writes C. */
typedef struct mhc_rmsnorm_args {
  size_t struct_size;
  void* stream;
  float eps;                /* >= 0 */
  const mhc_tensor* x;      /* [T, C] */
  const mhc_tensor* weight; /* [C] float32, optional: ones */
  mhc_tensor* y;            /* [T, C], type of x; may be x itself */
  mhc_tensor* inv_rms;      /* [T] float32, optional */
} mhc_rmsnorm_args;
MHC_API mhc_status mhc_rmsnorm(mhc_context* context, const mhc_rmsnorm_args* args);

/* With g = weight * d_y and r = sqrt(mean(x^2) + eps): d_x = (g - x * mean(g * x) / r^2) / r;
 * d_weight = sum over tokens of d_y * x / r. Reads 2C, writes C. */
typedef struct mhc_rmsnorm_backward_args {
  size_t struct_size;
  void* stream;
  float eps;
  int32_t accumulate;       /* mhc_accumulate, or-ed: INPUTS is d_x */
  const mhc_tensor* x;      /* [T, C] */
  const mhc_tensor* weight; /* [C], optional: ones */
  const mhc_tensor* d_y;    /* [T, C], type of x */
  mhc_tensor* d_x;          /* [T, C], type of x */
  mhc_tensor* d_weight;     /* [C] float32, optional */
} mhc_rmsnorm_backward_args;
MHC_API mhc_status mhc_rmsnorm_backward(mhc_context* context, const mhc_rmsnorm_backward_args* args);

/* E4M3 with one scale per tile: dst = round_to_nearest_even(src / scale), scale = max(amax of the tile, amax_floor) / 448.
 * 1x128 is for activations, 128x128 for weights; the last tile of a row or column may be smaller. The quotient is rounded
 * once. Infinities and NaNs become NaN (0x7f) and do not count in amax. scale is never below 2^-126.
 * Traffic of 1x128: reads K, writes K for a row. */
typedef enum mhc_fp8_tile { MHC_FP8_TILE_1X128 = 0, MHC_FP8_TILE_128X128 = 1 } mhc_fp8_tile;

typedef struct mhc_fp8_quantize_args {
  size_t struct_size;
  void* stream;
  int32_t tile;           /* mhc_fp8_tile */
  int32_t scale_rounding; /* mhc_fp8_scale */
  float amax_floor;       /* > 0, or 0 for 1e-4 */
  const mhc_tensor* src;  /* [M, K] bfloat16, float16 or float32 */
  mhc_tensor* dst;        /* [M, K] float8_e4m3fn */
  mhc_tensor* scale;      /* [M, ceil(K/128)] or [ceil(M/128), ceil(K/128)], any strides; float32, or float8_e8m0fnu with
                             POWER_OF_TWO */
} mhc_fp8_quantize_args;
MHC_API mhc_status mhc_fp8_quantize(mhc_context* context, const mhc_fp8_quantize_args* args);

/* dst = src * scale of its tile, rounded to dst's type. Traffic: each element once. */
typedef struct mhc_fp8_dequantize_args {
  size_t struct_size;
  void* stream;
  int32_t tile;
  const mhc_tensor* src;   /* [M, K] float8_e4m3fn */
  const mhc_tensor* scale; /* as above */
  mhc_tensor* dst;         /* [M, K] bfloat16, float16 or float32 */
} mhc_fp8_dequantize_args;
MHC_API mhc_status mhc_fp8_dequantize(mhc_context* context, const mhc_fp8_dequantize_args* args);

/* Amax gain magnitude (paper section 3) of each layer's H_res and of the running product H_l ... H_1 H_0, per token: how much a
 * signal can grow forward (max |row sum|) and a gradient backward (max |column sum|); and the contraction, the spectral
 * norm on the subspace of mean-free vectors, max |H v| / |v| over v whose entries sum to 0 (0 for n = 1). Products and
 * norms are taken in double precision. */
typedef struct mhc_gain_args {
  size_t struct_size;
  void* stream;
  int32_t orientation;      /* mhc_orientation of res_mix */
  const mhc_tensor* res_mix; /* [L, T, n, n] float32, L from 1, n <= 16 */
  mhc_tensor* forward;       /* [L, T] float32, optional; so the rest */
  mhc_tensor* backward;
  mhc_tensor* contraction;
  mhc_tensor* composite_forward;
  mhc_tensor* composite_backward;
  mhc_tensor* composite_contraction;
} mhc_gain_args;
MHC_API mhc_status mhc_gain(mhc_context* context, const mhc_gain_args* args);

/* distance = max over |row sum - 1|, |column sum - 1| and -entry of each matrix. NaN if any entry is. */
typedef struct mhc_doubly_stochastic_distance_args {
  size_t struct_size;
  void* stream;
  const mhc_tensor* matrix; /* [B, k, k] float32 */
  mhc_tensor* distance;     /* [B] float32 */
} mhc_doubly_stochastic_distance_args;
MHC_API mhc_status mhc_doubly_stochastic_distance(mhc_context* context, const mhc_doubly_stochastic_distance_args* args);

/* Birkhoff-von Neumann: matrix = sum_k weight[k] * P(permutation[k]) + remainder, largest weight first, greedily by
 * bottleneck matching; P(p)[i][p[i]] = 1. Unused terms have weight 0 and the identity. Entries below 0 and NaNs are in no
 * term, and stay in the remainder. */
typedef struct mhc_birkhoff_args {
  size_t struct_size;
  void* stream;
  const mhc_tensor* matrix; /* [B, n, n] float32, entries >= 0, n <= 16 */
  mhc_tensor* weight;       /* [B, K] float32; (n-1)^2 + 1 terms always suffice for a doubly stochastic matrix */
  mhc_tensor* permutation;  /* [B, K, n] int32 */
  mhc_tensor* terms;        /* [B] int32: how many were used, optional */
  mhc_tensor* remainder;    /* [B] float32: largest |entry| left over, optional */
} mhc_birkhoff_args;
MHC_API mhc_status mhc_birkhoff(mhc_context* context, const mhc_birkhoff_args* args);

/* One layer of a recomputed block. */
typedef struct mhc_recompute_layer {
  mhc_parameters parameters; /* of the boundary that enters this layer */
  const mhc_tensor* f;       /* [T, C]: stored output of F of this layer, float8_e4m3fn where mhc_recompute_args.f_scale has
                                its scales; optional for the last layer, whose x_next is then not made */
  mhc_coefficient_set out;   /* this layer's coefficients; pre_mix, post_mix, res_mix required */
  mhc_tensor* x;             /* [T, n, C]: the residual that enters this layer, optional; layer 0's is the input */
  mhc_tensor* h;             /* [T, C]: input of F of this layer, optional */
} mhc_recompute_layer;

/* Rebuilds what a block of layers l0 ... l0+L-1 dropped in the forward, from x_{l0} and the stored outputs of F: bit for bit
 * what L boundaries gave. On a CPU the residual stays in its caches from layer to layer: reads nC + L*C, and writes what is
 * asked for. So it does on a GPU for n = 4, 16-bit streams, MHC_MODE_MHC with dynamic coefficients and up to 64 layers, where
 * two tiles of it fit on chip; otherwise it goes through memory once a layer, some tokens at a time so that the second-level cache may hold it. */
typedef struct mhc_recompute_args {
  size_t struct_size;
  void* stream;
  const mhc_config* config;
  int32_t layers; /* L, 1 ... 4096 */
  const mhc_tensor* x;               /* [T, n, C], x_{l0} */
  const mhc_tensor* shifted_pre_mix; /* [T, n], when config.shifted: what h of layer l0 uses */
  const mhc_recompute_layer* layer;  /* [L] */
  mhc_tensor* x_next;                /* [T, n, C], the residual that leaves the block; optional; needs f of the last layer */
  const mhc_tensor* const* f_scale;  /* [L], optional: of each layer [T, ceil(C/128)] float32 or float8_e8m0fnu, any strides,
                                        with f of float8_e4m3fn; NULL with any other. Layers may differ */
} mhc_recompute_args;
MHC_API mhc_status mhc_recompute(mhc_context* context, const mhc_recompute_args* args);

/* Where to keep x_l so that training holds the fewest elements (paper Eq. 20): blocks of the length that minimises
 * nC * blocks + (n+2)C * longest block, never crossing a pipeline stage. Host only. */
typedef struct mhc_recompute_plan_args {
  size_t struct_size;
  int32_t layers;              /* 1 ... 1000000 */
  int32_t streams;             /* 1 ... 16 */
  int32_t stages;              /* pipeline stages, 1 ... layers */
  const int32_t* stage_layers; /* [stages], layers of each, summing to layers; NULL: split as evenly as can be, longer first */
  int32_t* block_starts;       /* [layers]: first layer of each block, optional */
  int32_t block_length;        /* out: L_r */
  int32_t blocks;              /* out */
  double stored_per_channel;   /* out: n * blocks, in elements of C per token */
  double transient_per_channel; /* out: (n+2) * longest block */
} mhc_recompute_plan_args;
MHC_API mhc_status mhc_recompute_plan(mhc_recompute_plan_args* args);

#ifdef __cplusplus
}
#endif
#endif
