// SPDX-License-Identifier: Apache-2.0
// The traffic ledger, counted at each load and store: rows of C elements cross memory as often as the design says, not once
// more. On the executor of the CUDA kernels what they ask for is counted, be it in a cache or not.
#include <optional>

#include "call.h"

using namespace mhc_test;

namespace {

// Rows per token, in streams' and in layer tensors' elements.
struct Rows {
  int64_t streams, layer;
};
struct Ledger {
  const char* name;
  Maker make;
  std::function<void(Form&)> change;
  Rows read, written;
  std::optional<Rows> cuda_read = {}, cuda_written = {};  // where src/cuda/LEDGER.md says other than the design
  std::optional<Rows> cuda_fp32_read = {};                // with streams of 32 bits
};

int32_t counting() { return on_cuda() ? kCuda : MHC_CPU_TIER_COUNTING; }

constexpr int64_t n = 4;

void as_is(Form&) {}
void first(Form& f) { f.first = true; }
void shifted(Form& f) { f.config = preset(MHC_PRESET_DEEPSEEK_V4_1, n); }
void norm(Form& f) { f.norm = true; }
void norm_weight(Form& f) { f.norm_weight = true; }
void is_static(Form& f) { f.config.is_static = 1; }
void residual(Form& f) { f.config.mode = MHC_MODE_RESIDUAL; }
void add_inputs(Form& f) { f.accumulate = MHC_ACCUMULATE_INPUTS; }
void mean(Form& f) { f.kind = MHC_HEAD_MEAN; }

// What the backward of a block wants at least: the inputs of F and the coefficients, and no residual.
std::unique_ptr<Call> make_recompute_inputs(const Form& form, Random& random) {
  auto call = make_recompute(form, random);
  for (const char* name : {"layer[0].x", "layer[1].x", "layer[2].x", "x_next", "layer[2].f"}) call->drop(name);
  return call;
}

const std::vector<Ledger>& ledgers() {
  static const std::vector<Ledger> all = {
      {"boundary", make_boundary, as_is, {n, 1}, {n, 1}},
      {"boundary_shifted", make_boundary, shifted, {n, 1}, {n, 1}},
      {"boundary_norm_weight", make_boundary, norm_weight, {n, 1}, {n, 1}},
      {"boundary_norm", make_boundary, norm, {n, 1}, {n, 2}},  // h and y
      {"boundary_static", make_boundary, is_static, {n, 1}, {n, 1}, Rows{2 * n, 1}},
      {"boundary_residual", make_boundary, residual, {n, 1}, {n, 1}, Rows{2 * n, 1}},
      {"boundary_first", make_boundary, first, {n, 0}, {0, 1}},
      {"boundary_backward", make_boundary_backward, as_is, {2 * n, 2}, {n, 1}},
      {"boundary_backward_shifted", make_boundary_backward, shifted, {2 * n, 2}, {n, 1}},
      {"boundary_backward_norm", make_boundary_backward, norm, {2 * n, 2}, {n, 1}},
      {"boundary_backward_accumulate", make_boundary_backward, add_inputs, {3 * n, 3}, {n, 1}},
      {"coefficients", make_coefficients, as_is, {n, 0}, {0, 0}},
      {"coefficients_static", make_coefficients, is_static, {0, 0}, {0, 0}},
      {"coefficients_backward", make_coefficients_backward, as_is, {n, 0}, {n, 0}},
      {"pre", make_pre, as_is, {n, 0}, {0, 1}},
      {"pre_backward", make_pre_backward, as_is, {n, 1}, {n, 0}},
      {"post", make_post, as_is, {n, 1}, {n, 0}},
      {"post_backward", make_post_backward, as_is, {2 * n, 1}, {n, 1}},
      {"expand", make_expand, as_is, {0, 1}, {n, 0}},
      {"expand_backward", make_expand_backward, as_is, {n, 0}, {0, 1}},
      {"head", make_head, as_is, {n, 0}, {0, 1}},
      {"head_mean", make_head, mean, {n, 0}, {0, 1}},
      {"head_backward", make_head_backward, as_is, {n, 1}, {n, 0}, Rows{2 * n, 2}},
      {"head_backward_accumulate", make_head_backward, add_inputs, {2 * n, 1}, {n, 0}, Rows{3 * n, 2}},
      {"head_backward_mean", make_head_backward, mean, {0, 1}, {n, 0}},
      {"rmsnorm", make_rmsnorm, norm_weight, {0, 1}, {0, 1}, Rows{0, 2}},
      {"rmsnorm_backward", make_rmsnorm_backward, norm_weight, {0, 2}, {0, 1}},
      {"rmsnorm_backward_accumulate", make_rmsnorm_backward, add_inputs, {0, 3}, {0, 1}},
      // 3 layers, each with x and h, and x_next
      {"recompute", make_recompute, as_is, {n, 3}, {4 * n, 3}, {}, {}, Rows{5 * n, 3}},
      {"recompute_shifted", make_recompute, shifted, {n, 3}, {4 * n, 3}, {}, {}, Rows{5 * n, 3}},
      {"recompute_inputs", make_recompute_inputs, as_is, {n, 2}, {0, 3}, {}, {}, Rows{2 * n, 2}},
  };
  return all;
}

mhc_traffic counted(Call& call, const Context& context) {
  EXPECT_EQ(call.run(context), MHC_OK) << mhc_last_error();
  mhc_traffic traffic = {};
  traffic.struct_size = sizeof traffic;
  EXPECT_EQ(mhc_context_get_traffic(context.get(), &traffic), MHC_OK) << mhc_last_error();
  return traffic;
}

class Traffic : public testing::TestWithParam<Ledger> {};

TEST_P(Traffic, is_what_the_ledger_says) {
  Random random;
  Context context(counting());
  const Rows written = on_cuda() ? GetParam().cuda_written.value_or(GetParam().written) : GetParam().written;
  const std::vector<int64_t> all_tokens = on_cuda() ? std::vector<int64_t>{0, 70} : std::vector<int64_t>{0, 1, 13, 70};
  const std::vector<int64_t> widths = on_cuda() ? std::vector<int64_t>{37, 600} : std::vector<int64_t>{1, 37, 256};
  for (const Types& types : kTypes)
    for (int64_t tokens : all_tokens)
      for (int64_t width : widths) {
        Rows read = on_cuda() ? GetParam().cuda_read.value_or(GetParam().read) : GetParam().read;
        if (on_cuda() && types.streams == kFp32) read = GetParam().cuda_fp32_read.value_or(read);
        Form form;
        GetParam().change(form);
        form.types = types;
        form.tokens = tokens;
        form.width = width;
        auto call = GetParam().make(form, random);
        if (form.accumulate)
          for (Operand& o : call->operands())
            if (o.role == Role::output) o.tensor->set(Array(o.tensor->count()));
        const mhc_traffic t = counted(*call, context);
        auto bytes = [&](Rows r) { return (uint64_t)(tokens * width * (r.streams * types.streams.bytes + r.layer * types.layer.bytes)); };
        EXPECT_EQ(t.row_bytes_read, bytes(read)) << form.describe();
        EXPECT_EQ(t.row_bytes_written, bytes(written)) << form.describe();
      }
}

INSTANTIATE_TEST_SUITE_P(all, Traffic, testing::ValuesIn(ledgers()), [](const auto& info) { return std::string(info.param.name); });

// FP8 reads the row once and writes a byte an element.
TEST(TrafficFp8, is_one_pass) {
  Random random;
  Context context(counting());
  Form form;
  form.tokens = 13;
  form.width = 300;
  form.types = {kBf16, kBf16};
  const uint64_t elements = 13 * 300;
  auto quantize = make_fp8_quantize(form, random), dequantize = make_fp8_dequantize(form, random);
  mhc_traffic t = counted(*quantize, context);
  EXPECT_EQ(t.row_bytes_read, 2 * elements);
  EXPECT_EQ(t.row_bytes_written, elements);
  t = counted(*dequantize, context);
  EXPECT_EQ(t.row_bytes_read, elements);
  EXPECT_EQ(t.row_bytes_written, 2 * elements);
  form.fp8 = true;
  auto boundary = make_boundary(form, random);
  t = counted(*boundary, context);
  EXPECT_EQ(t.row_bytes_read, 2 * 5 * elements);
  EXPECT_EQ(t.row_bytes_written, 2 * 5 * elements + elements);
}

// f in FP8 is a byte an element less than in bf16, three less than in float32, wherever it is read; its scales are few.
TEST(TrafficFp8, is_a_byte_an_element_of_f) {
  Random random;
  Context context(counting());
  for (const Maker& make : {Maker(make_post), Maker(make_post_backward), Maker(make_boundary), Maker(make_boundary_backward), Maker(make_recompute)})
    for (const Types& types : kTypes) {
      Form form;
      form.tokens = 13;
      form.width = 300;
      form.types = types;
      auto plain = make(form, random);
      form.fp8_f = true;
      auto fp8 = make(form, random);
      SCOPED_TRACE(std::string(plain->function()) + ", " + form.describe());
      const mhc_traffic before = counted(*plain, context), after = counted(*fp8, context);
      const uint64_t layers = plain->operation() == MHC_OP_RECOMPUTE ? 3 : 1;
      EXPECT_EQ(after.row_bytes_read, before.row_bytes_read - layers * 13 * 300 * (types.layer.bytes - 1));
      EXPECT_EQ(after.row_bytes_written, before.row_bytes_written);
      EXPECT_GE(after.coefficient_bytes_read, before.coefficient_bytes_read + layers * 13 * 3 * 4);
      const uint64_t reads = on_cuda() ? 38 : 5;  // of a scale: by each thread with eight channels of it; for each chunk of a row
      EXPECT_LE(after.coefficient_bytes_read, before.coefficient_bytes_read + layers * 13 * reads * 4);
    }
}

// More tensors than any other operation has are counted all.
TEST(TrafficRecompute, is_one_pass_of_many_layers) {
  Random random;
  Context context(counting());
  Form form;
  form.layers = 40;
  form.tokens = 3;
  form.width = 37;
  auto call = make_recompute(form, random);
  const mhc_traffic t = counted(*call, context);
  const uint64_t layer_bytes = 4 * 3 * 37;
  EXPECT_EQ(t.row_bytes_written, (41 * n + 40) * layer_bytes);
  if (!on_cuda()) {  // where the residual is read once a layer too
    EXPECT_EQ(t.row_bytes_read, (n + 40) * layer_bytes);
  }
  EXPECT_GE(t.parameter_bytes_read, 40 * 24 * (uint64_t)n * 37 * 4);
  EXPECT_EQ(t.coefficient_bytes_written, 40 * 3 * (4 + 4 + 16 + 24 + 1) * 4u);
}

// What is not counted as memory traffic has to fit a second-level cache, at the widths that models have.
TEST(TrafficScratch, fits_the_second_level_cache) {
  Random random;
  Context context(MHC_CPU_TIER_COUNTING);
  for (const Maker& make : {Maker(make_boundary), Maker(make_boundary_backward), Maker(make_recompute)})
    for (int64_t width : {1280, 4096, 7168}) {
      Form form;
      form.tokens = 9;
      form.width = width;
      form.types = {kBf16, kBf16};
      auto call = make(form, random);
      const mhc_traffic t = counted(*call, context);
      EXPECT_LE(t.scratch_bytes, 2u << 20) << call->function() << " C=" << width;
      EXPECT_GT(t.parameter_bytes_read, 0u) << call->function();
    }
}

}  // namespace
