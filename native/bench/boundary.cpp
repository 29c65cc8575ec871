// SPDX-License-Identifier: Apache-2.0
#include "boundary.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "mhc/mhc.h"

namespace mhc::bench {
namespace {

constexpr int64_t kStreams = 4, kMixes = kStreams * kStreams + 2 * kStreams;
constexpr size_t kRotated = size_t{256} << 20;
constexpr double kLeastSeconds = 2e-3;  // of one timing: short calls are repeated

void check(mhc_status status) {
  if (status == MHC_OK) return;
  std::fprintf(stderr, "mhc_bench: %s\n", mhc_last_error());
  std::exit(1);
}

struct Tensor {
  std::vector<int64_t> shape;
  std::unique_ptr<char, void (*)(void*)> memory{nullptr, std::free};
  mhc_tensor descriptor{};

  Tensor(mhc_dtype type, std::vector<int64_t> dims) : shape(std::move(dims)) {
    size_t bytes = type.bits / 8;
    for (int64_t dim : shape) bytes *= dim;
    memory.reset(static_cast<char*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
    std::memset(memory.get(), 0, bytes);
    descriptor = {memory.get(), {MHC_DEVICE_CPU, 0}, int32_t(shape.size()), type, shape.data(), nullptr, 0};
  }

  // Uniform in [-amplitude, amplitude), by a small generator of its own.
  Tensor& fill(float amplitude) {
    static uint64_t state = 1;
    size_t count = 1;
    for (int64_t dim : shape) count *= dim;
    for (size_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      float value = amplitude * (float(state >> 40) * 0x1p-23f - 1);
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      if (descriptor.dtype.bits == 32) {
        std::memcpy(memory.get() + 4 * i, &value, 4);
      } else {
        uint16_t upper = bits >> 16;
        std::memcpy(memory.get() + 2 * i, &upper, 2);
      }
    }
    return *this;
  }
};

constexpr mhc_dtype kBf16 = {MHC_DTYPE_BFLOAT, 16, 1}, kFp32 = {MHC_DTYPE_FLOAT, 32, 1};

// The rows that one call works on.
struct Rows {
  Tensor x, f, x_next, h, d_h, d_x_next, d_x, d_f;
  Rows(int64_t t, int64_t c)
      : x(kBf16, {t, kStreams, c}), f(kBf16, {t, c}), x_next(kBf16, {t, kStreams, c}), h(kBf16, {t, c}),
        d_h(kBf16, {t, c}), d_x_next(kBf16, {t, kStreams, c}), d_x(kBf16, {t, kStreams, c}), d_f(kBf16, {t, c}) {
    for (Tensor* each : {&x, &f, &d_h, &d_x_next}) each->fill(1);
  }
};

struct Coefficients {
  Tensor pre, post, res;
  explicit Coefficients(int64_t t) : pre(kFp32, {t, kStreams}), post(kFp32, {t, kStreams}),
                                     res(kFp32, {t, kStreams, kStreams}) {
    for (Tensor* each : {&pre, &post, &res}) each->fill(0.5f);
  }
};

struct Boundary {
  mhc_context* context = nullptr;
  mhc_config config{};
  Tensor projection, scale, bias, mix, inv_rms, d_projection, d_scale, d_bias;
  Coefficients now, next, d_now, d_next;
  std::vector<std::unique_ptr<Rows>> rows;
  size_t turn = 0;

  Boundary(int threads, int64_t t, int64_t c)
      : projection(kFp32, {kMixes, kStreams * c}), scale(kFp32, {3}), bias(kFp32, {kMixes}), mix(kFp32, {t, kMixes}),
        inv_rms(kFp32, {t}), d_projection(kFp32, {kMixes, kStreams * c}), d_scale(kFp32, {3}), d_bias(kFp32, {kMixes}),
        now(t), next(t), d_now(t), d_next(t) {
    mhc_context_options options{};
    options.struct_size = sizeof options;
    options.threads = threads;
    check(mhc_context_create(&options, &context));
    check(mhc_config_init(&config, MHC_PRESET_PAPER, kStreams));
    projection.fill(0.02f);
    scale.fill(1);
    bias.fill(1);
    size_t one = size_t(4 * kStreams + 4) * t * c * 2;
    for (size_t made = 0; made == 0 || made < kRotated; made += one) rows.push_back(std::make_unique<Rows>(t, c));
    mhc_boundary_args forward = forward_args();
    mhc_boundary_backward_args backward = backward_args();
    size_t bytes = 0, more = 0;
    check(mhc_workspace_size(context, MHC_OP_BOUNDARY, &forward, &bytes));
    check(mhc_workspace_size(context, MHC_OP_BOUNDARY_BACKWARD, &backward, &more));
    check(mhc_context_reserve(context, std::max(bytes, more)));
    check(mhc_boundary(context, &forward));
  }
  ~Boundary() { mhc_context_destroy(context); }

  mhc_boundary_args forward_args() {
    Rows& on = *rows[turn];
    mhc_boundary_args a{};
    a.struct_size = sizeof a;
    a.config = &config;
    a.parameters = {&projection.descriptor, &scale.descriptor, &bias.descriptor, nullptr};
    a.x = &on.x.descriptor;
    a.f = &on.f.descriptor;
    a.post_mix = &now.post.descriptor;
    a.res_mix = &now.res.descriptor;
    a.x_next = &on.x_next.descriptor;
    a.next = {&next.pre.descriptor, &next.post.descriptor, &next.res.descriptor, &mix.descriptor, &inv_rms.descriptor};
    a.h = &on.h.descriptor;
    return a;
  }

  mhc_boundary_backward_args backward_args() {
    Rows& on = *rows[turn];
    mhc_boundary_backward_args a{};
    a.struct_size = sizeof a;
    a.config = &config;
    a.parameters = {&projection.descriptor, &scale.descriptor, &bias.descriptor, nullptr};
    a.x = &on.x.descriptor;
    a.f = &on.f.descriptor;
    a.post_mix = &now.post.descriptor;
    a.res_mix = &now.res.descriptor;
    a.mix = &mix.descriptor;
    a.inv_rms = &inv_rms.descriptor;
    a.d_h = &on.d_h.descriptor;
    a.d_x_next = &on.d_x_next.descriptor;
    a.d_post_mix_next = &d_next.post.descriptor;
    a.d_res_mix_next = &d_next.res.descriptor;
    a.d_x = &on.d_x.descriptor;
    a.d_f = &on.d_f.descriptor;
    a.d_post_mix = &d_now.post.descriptor;
    a.d_res_mix = &d_now.res.descriptor;
    a.d_parameters = {&d_projection.descriptor, &d_scale.descriptor, &d_bias.descriptor, nullptr};
    return a;
  }

  void forward() {
    turn = (turn + 1) % rows.size();
    mhc_boundary_args a = forward_args();
    check(mhc_boundary(context, &a));
  }

  void backward() {
    turn = (turn + 1) % rows.size();
    mhc_boundary_backward_args a = backward_args();
    check(mhc_boundary_backward(context, &a));
  }
};

// Seconds a call, over as many calls as make the clock's steps small.
template <class Call>
double seconds_a_call(Call call) {
  double seconds = 0;
  int calls = 0;
  while (seconds < kLeastSeconds) {
    seconds += seconds_of(call);
    ++calls;
  }
  return seconds / calls;
}

}  // namespace

void add_boundary(std::vector<Contestant>& contestants, int threads, int64_t tokens, int64_t width) {
  auto boundary = std::make_shared<Boundary>(threads, tokens, width);
  constexpr double n = kStreams, m = kMixes;
  double rows = double(tokens) * width, element = 2;
  // Forward: the product, the squares, post, pre. Backward: x_next again, the product's two gradients, those of post
  // and pre (n + 1 sums over C and n + 1 rows each), the squares.
  double forward_adds = rows * (m * n + n + n * (n + 1) + n);
  double backward_adds = rows * (n * (n + 1) + 2 * m * n + 2 * n * (n + 1) + 2 * n + n);
  std::string shape = ", T=" + std::to_string(tokens) + " C=" + std::to_string(width);
  contestants.push_back({"boundary" + shape, rows * element * (2 * n + 2), forward_adds,
                         [=] { return seconds_a_call([&] { boundary->forward(); }); }});
  contestants.push_back({"boundary_backward" + shape, rows * element * (3 * n + 3), backward_adds,
                         [=] { return seconds_a_call([&] { boundary->backward(); }); }});
}

}  // namespace mhc::bench
