// SPDX-License-Identifier: Apache-2.0
// A wrong call gets a status and a sentence that names the function, the argument, its value and what was expected, and
// leaves every output alone. As data: what can be broken in a tensor, tried on every tensor of every operation; what can be
// broken in a config or a number, tried on every operation that has it; and what only one operation can get wrong.
#include <cmath>
#include <set>

#include "call.h"

using namespace mhc_test;

namespace {

void expect_refused(Call& call, const Context& context, const std::vector<std::string>& words,
                    mhc_status expected = MHC_INVALID_ARGUMENT) {
  call.poison_outputs();
  EXPECT_EQ(call.invoke(context.get()), expected);
  const std::string message = mhc_last_error();
  EXPECT_EQ(message.rfind(std::string(call.function()) + ": ", 0), 0u) << "it does not begin with " << call.function() << ": " << message;
  EXPECT_NE(message.find("expected"), std::string::npos) << message;
  for (const std::string& word : words)
    EXPECT_NE(message.find(word), std::string::npos) << "no \"" << word << "\" in: " << message;
  for (Operand& o : call.operands())
    EXPECT_TRUE(o.role == Role::input || o.tensor->is_poisoned()) << o.name << " was written";
}

// How messages speak of an argument: "layer[1].out.mix" of a recompute is layer.out.mix there, or just parameters.bias or
// f_scale, and which layer it is stands at the end.
std::string message_name(const std::string& name) {
  const size_t bracket = name.find("].");
  if (bracket == std::string::npos) return name;
  const std::string inner = name.substr(bracket + 2);
  return inner.rfind("parameters.", 0) == 0 || inner == "f_scale" ? inner : "layer." + inner;
}

// ------------------------------------------------------------------------------------------------- tensors, one by one

// Tensors from which dimensions are learned: a wrong one shows in the next tensor that shares it.
bool gives_dimensions(const Call& call, const std::string& name) {
  const mhc_operation operation = call.operation();
  if (name == "res_mix") return operation == MHC_OP_GAIN;
  if (name == "d_x") return operation == MHC_OP_EXPAND_BACKWARD || operation == MHC_OP_HEAD_BACKWARD;
  if (name == "weight") return operation == MHC_OP_BIRKHOFF;
  return name == "x" || name == "logits" || name == "src" || name == "matrix" || name == "embedding";
}

// Coefficients that do not depend on x do not care how wide it is.
bool ignores_width(const Call& call) {
  return call.operation() == MHC_OP_COEFFICIENTS && (call.config.is_static || call.config.mode == MHC_MODE_RESIDUAL);
}

struct Fault {
  const char* what;
  // Breaks the tensor and says what the message has to contain beside the name; empty: this cannot be broken here.
  std::function<std::vector<std::string>(Call&, Operand&)> apply;
};

bool any_strides(const Operand& o) { return o.name.find("scale") != std::string::npos && o.tensor->get()->ndim == 2; }

std::vector<std::string> lengthen(Call& call, Operand& o, int dimension) {
  if (dimension >= o.tensor->get()->ndim) return {};
  const bool alone = (call.operation() == MHC_OP_EXPAND && o.name == "x") ||
                     (call.operation() == MHC_OP_EXPAND_BACKWARD && o.name == "d_x") ||
                     ((call.operation() == MHC_OP_HEAD || call.operation() == MHC_OP_HEAD_BACKWARD) && *call.kind != MHC_HEAD_WEIGHTED);
  if (ignores_width(call) && dimension == 2 && o.name == "x") return {};
  if (alone && dimension == 1 && o.tensor->get()->ndim == 3) return {};  // nobody else knows how many streams there are
  const int64_t wrong = o.tensor->get()->shape[dimension] += 1;
  for (int outer = 0; outer < dimension; ++outer) o.tensor->get()->strides[outer] *= 2;  // an output's elements are apart still
  if (gives_dimensions(call, o.name)) return {".shape"};
  return {".shape", std::to_string(wrong)};
}

const std::vector<Fault>& faults() {
  static const std::vector<Fault> all = {
      {"data is NULL", [](Call&, Operand& o) { o.tensor->get()->data = nullptr; o.tensor->get()->byte_offset = 0; return std::vector<std::string>{".data", "NULL"}; }},
      {"dtype is int64", [](Call&, Operand& o) { o.tensor->get()->dtype = {MHC_DTYPE_INT, 64, 1}; return std::vector<std::string>{".dtype", "64"}; }},
      {"two lanes", [](Call&, Operand& o) { o.tensor->get()->dtype.lanes = 2; return std::vector<std::string>{".dtype", "2 lanes"}; }},
      {"one dimension more", [](Call&, Operand& o) { const int n = ++o.tensor->get()->ndim; return std::vector<std::string>{".ndim", std::to_string(n)}; }},
      {"ndim is -1", [](Call&, Operand& o) { o.tensor->get()->ndim = -1; return std::vector<std::string>{".ndim", "-1"}; }},
      {"shape is NULL", [](Call&, Operand& o) { o.tensor->get()->shape = nullptr; return std::vector<std::string>{".shape", "NULL"}; }},
      {"first dimension + 1", [](Call& c, Operand& o) { return lengthen(c, o, 0); }},
      {"second dimension + 1", [](Call& c, Operand& o) { return lengthen(c, o, 1); }},
      {"third dimension + 1", [](Call& c, Operand& o) { return lengthen(c, o, 2); }},
      {"a negative dimension", [](Call&, Operand& o) { o.tensor->get()->shape[0] = -4; return std::vector<std::string>{".shape", "-4"}; }},
      {"a dimension above 2^40", [](Call&, Operand& o) {
         o.tensor->get()->shape[0] = (int64_t{1} << 40) + 1;
         return std::vector<std::string>{".shape", "1099511627777", "2^40"};
       }},
      {"on another kind of device", [](Call&, Operand& o) {
         const int32_t other = o.tensor->get()->device.device_type = on_cuda() ? MHC_DEVICE_CPU : MHC_DEVICE_CUDA;
         return std::vector<std::string>{".device", "type " + std::to_string(other)};
       }},
      {"in pinned memory", [](Call&, Operand& o) { o.tensor->get()->device.device_type = MHC_DEVICE_CUDA_HOST; return std::vector<std::string>{".device", "type 3"}; }},
      {"on the second device", [](Call&, Operand& o) { o.tensor->get()->device.device_id = 1; return std::vector<std::string>{".device", "1"}; }},
      {"misaligned", [](Call&, Operand& o) -> std::vector<std::string> {
         if (o.tensor->element().bytes == 1) return {};
         o.tensor->get()->byte_offset += 1;
         return {".data", "aligned", std::to_string(o.tensor->element().bytes)};
       }},
      {"last dimension not contiguous", [](Call&, Operand& o) -> std::vector<std::string> {
         const int last = o.tensor->get()->ndim - 1;
         if (any_strides(o) || o.tensor->get()->shape[last] < 2) return {};
         o.tensor->get()->strides[last] = 2;
         return {".strides", "contiguous"};
       }},
      {"a negative stride", [](Call&, Operand& o) -> std::vector<std::string> {
         if (o.tensor->get()->ndim < 2) return {};
         o.tensor->get()->strides[0] = -8;
         return {".strides", "-8"};
       }},
      {"a stride above 2^44", [](Call&, Operand& o) -> std::vector<std::string> {
         if (o.tensor->get()->ndim < 2) return {};
         o.tensor->get()->strides[0] = (int64_t{1} << 44) + 1;
         return {".strides", "17592186044417", "2^44"};
       }},
      {"an output whose elements share memory", [](Call&, Operand& o) -> std::vector<std::string> {
         const int last = o.tensor->get()->ndim - 1;
         if (last < 1 || o.role == Role::input || o.tensor->get()->shape[0] < 2 || o.tensor->get()->shape[last] < 2) return {};
         o.tensor->get()->strides[0] = 1;
         return {".strides", "[1, ", "apart"};
       }},
      {"an output with stride 0", [](Call&, Operand& o) -> std::vector<std::string> {
         if (o.tensor->get()->ndim < 2 || o.role == Role::input || o.tensor->get()->shape[0] < 2) return {};
         o.tensor->get()->strides[0] = 0;
         return {".strides", "0"};
       }},
  };
  return all;
}

class Arguments : public testing::TestWithParam<Variant> {
 protected:
  std::unique_ptr<Call> make() { return GetParam().make(GetParam().form, random_); }
  Random random_;
  Context context_;
};

// Else a refusal below would prove nothing.
TEST_P(Arguments, are_right_before_they_are_broken) {
  auto call = make();
  size_t bytes;
  EXPECT_EQ(call->workspace(context_.get(), &bytes), MHC_OK) << mhc_last_error();
}

TEST_P(Arguments, a_broken_tensor_is_refused) {
  auto call = make();
  for (const Fault& fault : faults())
    for (Operand& broken : call->operands()) {
      SCOPED_TRACE(broken.name + ": " + fault.what);
      std::vector<std::string> words = fault.apply(*call, broken);
      if (!words.empty()) {
        if (words != std::vector<std::string>{".shape"}) words[0] = message_name(broken.name) + words[0];
        expect_refused(*call, context_, words);
      }
      broken.tensor->repair();
    }
}

TEST_P(Arguments, a_missing_tensor_is_refused) {
  const size_t count = make()->operands().size();
  for (size_t i = 0; i < count; ++i) {
    auto call = make();
    const Operand& o = call->operands()[i];
    if (o.optional) continue;
    const std::string name = o.name;
    // What may be absent, alone or together with its fellows: the rows below have those.
    static const std::set<std::pair<mhc_operation, std::string>> may_be_absent = {
        {MHC_OP_BOUNDARY, "f"}, {MHC_OP_BOUNDARY, "norm_weight"}, {MHC_OP_BOUNDARY, "y"}, {MHC_OP_BOUNDARY, "h_fp8"},
        {MHC_OP_BOUNDARY, "parameters.norm_weight"}, {MHC_OP_BOUNDARY_BACKWARD, "f"}, {MHC_OP_BOUNDARY_BACKWARD, "norm_weight"},
        {MHC_OP_BOUNDARY_BACKWARD, "parameters.norm_weight"}, {MHC_OP_COEFFICIENTS, "parameters.norm_weight"},
        {MHC_OP_COEFFICIENTS_BACKWARD, "parameters.norm_weight"}, {MHC_OP_RECOMPUTE, "parameters.norm_weight"},
        {MHC_OP_RMSNORM, "weight"}, {MHC_OP_RMSNORM_BACKWARD, "weight"}};
    if (may_be_absent.count({call->operation(), message_name(name)})) continue;
    SCOPED_TRACE(name);
    call->drop(name);
    expect_refused(*call, context_, {message_name(name), "NULL"});
  }
}

// Outputs that may be the very tensor that an input is.
bool in_place(mhc_operation operation, const std::string& output, const std::string& input) {
  const auto pair = std::make_pair(output, input);
  switch (operation) {
    case MHC_OP_POST:
    case MHC_OP_BOUNDARY: return pair == std::make_pair(std::string("x_next"), std::string("x"));
    case MHC_OP_POST_BACKWARD:
    case MHC_OP_BOUNDARY_BACKWARD: return pair == std::make_pair(std::string("d_x"), std::string("d_x_next"));
    case MHC_OP_RMSNORM: return pair == std::make_pair(std::string("y"), std::string("x"));
    default: return false;
  }
}

std::string layer_of(const std::string& name) { return name.substr(0, name.find("].")); }

// How messages speak of it beside another one: of two layers' tensors each with its layer.
std::string message_name(const Operand& o, const Operand& other) {
  const bool two_layers = o.name[0] == 'l' && other.name[0] == 'l' && layer_of(o.name) != layer_of(other.name);
  return two_layers ? o.name : message_name(o.name);
}

TEST_P(Arguments, an_output_that_overlaps_is_refused) {
  auto call = make();
  for (Operand& out : call->operands())
    for (Operand& other : call->operands()) {
      if (&out == &other || out.role == Role::input) continue;
      SCOPED_TRACE(out.name + " over " + other.name);
      mhc_tensor *to = other.tensor->get(), *moved = out.tensor->get();
      moved->data = to->data;
      // Where the same tensor is allowed, one that begins an element later is not; the shared memory is an input's.
      moved->byte_offset = to->byte_offset + (in_place(call->operation(), out.name, other.name) ? out.tensor->element().bytes : 0);
      if (((uintptr_t)moved->data + moved->byte_offset) % out.tensor->element().bytes != 0) {  // refused for that already
        out.tensor->repair();
        continue;
      }
      call->poison_outputs();
      const std::vector<uint8_t> before = other.tensor->bytes();
      EXPECT_EQ(call->invoke(context_.get()), MHC_INVALID_ARGUMENT);
      const std::string message = mhc_last_error();
      EXPECT_NE(message.find("overlap"), std::string::npos) << message;
      const size_t page = 4096;  // a larger tensor may reach a third one behind the guarding page, and name that
      if (out.tensor->bytes().size() < page) {
        EXPECT_NE(message.find(message_name(out, other)), std::string::npos) << message;
        EXPECT_NE(message.find(message_name(other, out)), std::string::npos) << message;
      }
      EXPECT_EQ(before, other.tensor->bytes());
      out.tensor->repair();
    }
}

// bfloat16 and float16 are as long as each other, so nothing but the type is wrong.
TEST_P(Arguments, types_that_do_not_go_together_are_refused) {
  Form form = GetParam().form;
  for (const Element& streams : {kBf16, kFp32}) {  // with float32 streams nothing but layer tensors
    form.types = {streams, kBf16};
    const size_t count = GetParam().make(form, random_)->operands().size();
    for (size_t i = 0; i < count; ++i) {
      auto call = GetParam().make(form, random_);
      size_t rows = 0;
      for (Operand& o : call->operands()) rows += o.tensor->element() == kBf16;
      Operand& o = call->operands()[i];
      if (!(o.tensor->element() == kBf16) || rows < 2) continue;
      SCOPED_TRACE(std::string(streams.name) + " streams, " + o.name);
      o.tensor->get()->dtype = kFp16.dtype;
      expect_refused(*call, context_, {".dtype", "bfloat16", "float16"});
    }
  }
}

// ------------------------------------------------------------------------------------------------- blocks and numbers

struct Number {
  const char* what;
  std::function<bool(Call&)> apply;  // false: this call does not have it
  std::vector<std::string> words;
};

template <class Field, class Value>
std::function<bool(Call&)> config_field(Field mhc_config::*field, Value value) {
  return [field, value](Call& call) {
    if (!call.config_pointer) return false;
    call.config.*field = (Field)value;
    return true;
  };
}
template <class Field, class Value>
std::function<bool(Call&)> scalar(Field* Call::*field, Value value) {
  return [field, value](Call& call) {
    if (!(call.*field)) return false;
    *(call.*field) = (Field)value;
    return true;
  };
}

const std::vector<Number>& block_numbers() {
  static const std::vector<Number> all = {
      {"block of size 0", scalar(&Call::struct_size, 0), {"struct_size", "0"}},
      {"block too small", [](Call& c) { *c.struct_size -= 1; return true; }, {"struct_size"}},
      {"a stream", [](Call& c) { if (on_cuda()) return false; *c.stream = &c; return true; }, {"stream", "NULL"}},
      {"accumulate -1", scalar(&Call::accumulate, -1), {"accumulate", "-1"}},
      {"accumulate 4", scalar(&Call::accumulate, 4), {"accumulate", "4", "3"}},
      {"orientation -1", scalar(&Call::orientation, -1), {"orientation", "-1"}},
      {"orientation 2", scalar(&Call::orientation, 2), {"orientation", "2"}},
      {"kind -1", scalar(&Call::kind, -1), {"kind", "-1"}},
      {"tile -1", scalar(&Call::tile, -1), {"tile", "-1"}},
      {"rounding -1", scalar(&Call::rounding, -1), {"scale_rounding", "-1"}},
      {"kind 3", scalar(&Call::kind, 3), {"kind", "3"}},
      {"tile 2", scalar(&Call::tile, 2), {"tile", "2"}},
      {"rounding 2", scalar(&Call::rounding, 2), {"scale_rounding", "2"}},
      {"eps < 0", scalar(&Call::eps, -0.5), {"eps", "-0.5"}},
      {"eps NaN", scalar(&Call::eps, NAN), {"eps", "nan"}},
      {"eps infinite", scalar(&Call::eps, INFINITY), {"eps", "inf"}},
      {"amax_floor < 0", scalar(&Call::amax_floor, -2), {"amax_floor", "-2"}},
      {"amax_floor NaN", scalar(&Call::amax_floor, NAN), {"amax_floor", "nan"}},
      {"amax_floor infinite", scalar(&Call::amax_floor, INFINITY), {"amax_floor", "inf"}},
      {"layers -1", scalar(&Call::layers, -1), {"layers", "-1"}},
      {"no layers", scalar(&Call::layers, 0), {"layers", "0"}},
      {"too many layers", scalar(&Call::layers, 4097), {"layers", "4097", "4096"}},
  };
  return all;
}

// Which part of the config an operation reads.
const std::vector<Number>& sinkhorn_numbers() {
  static const std::vector<Number> all = {
      {"config.struct_size 0", config_field(&mhc_config::struct_size, 0), {"config.struct_size", "0"}},
      {"config NULL", [](Call& c) { if (!c.config_pointer) return false; *c.config_pointer = nullptr; return true; }, {"config", "NULL"}},
      {"reserved[0] 1", [](Call& c) { c.config.reserved[0] = 1; return true; }, {"config.reserved[0]", "1", "0"}},
      {"reserved[14] -1", [](Call& c) { c.config.reserved[14] = -1; return true; }, {"config.reserved[14]", "-1", "0"}},
      {"iterations 0", config_field(&mhc_config::iterations, 0), {"config.iterations", "0", "1000"}},
      {"iterations 1001", config_field(&mhc_config::iterations, 1001), {"config.iterations", "1001", "1000"}},
      {"start 3", config_field(&mhc_config::sinkhorn_start, 3), {"config.sinkhorn_start", "3"}},
      {"start -1", config_field(&mhc_config::sinkhorn_start, -1), {"config.sinkhorn_start", "-1"}},
      {"iterations -1", config_field(&mhc_config::iterations, -1), {"config.iterations", "-1", "1000"}},
      {"order -1", config_field(&mhc_config::sinkhorn_order, -1), {"config.sinkhorn_order", "-1"}},
      {"eps mode -1", config_field(&mhc_config::sinkhorn_eps_mode, -1), {"config.sinkhorn_eps_mode", "-1"}},
      {"order 2", config_field(&mhc_config::sinkhorn_order, 2), {"config.sinkhorn_order", "2"}},
      {"eps mode 3", config_field(&mhc_config::sinkhorn_eps_mode, 3), {"config.sinkhorn_eps_mode", "3"}},
      {"eps < 0", config_field(&mhc_config::sinkhorn_eps, -1), {"config.sinkhorn_eps", "-1"}},
      {"eps NaN", config_field(&mhc_config::sinkhorn_eps, NAN), {"config.sinkhorn_eps", "nan"}},
      {"eps infinite", config_field(&mhc_config::sinkhorn_eps, INFINITY), {"config.sinkhorn_eps", "inf"}},
  };
  return all;
}

const std::vector<Number>& head_numbers() {
  static const std::vector<Number> all = {
      {"config.struct_size 0", config_field(&mhc_config::struct_size, 0), {"config.struct_size", "0"}},
      {"config NULL", [](Call& c) { *c.config_pointer = nullptr; return true; }, {"config", "NULL"}},
      {"rms eps mode -1", config_field(&mhc_config::rms_eps_mode, -1), {"config.rms_eps_mode", "-1"}},
      {"rms_eps infinite", config_field(&mhc_config::rms_eps, INFINITY), {"config.rms_eps", "inf"}},
      {"pre_eps NaN", config_field(&mhc_config::pre_eps, NAN), {"config.pre_eps", "nan"}},
      {"rms eps mode 2", config_field(&mhc_config::rms_eps_mode, 2), {"config.rms_eps_mode", "2"}},
      {"rms_eps < 0", config_field(&mhc_config::rms_eps, -1), {"config.rms_eps", "-1"}},
      {"rms_eps NaN", config_field(&mhc_config::rms_eps, NAN), {"config.rms_eps", "nan"}},
      {"pre_eps < 0", config_field(&mhc_config::pre_eps, -1), {"config.pre_eps", "-1"}},
      {"pre_eps infinite", config_field(&mhc_config::pre_eps, INFINITY), {"config.pre_eps", "inf"}},
  };
  return all;
}

const std::vector<Number>& layer_numbers() {
  static const std::vector<Number> all = {
      {"streams 0", config_field(&mhc_config::streams, 0), {"config.streams", "0", "16"}},
      {"streams 17", config_field(&mhc_config::streams, 17), {"config.streams", "17", "16"}},
      {"streams unlike x", [](Call& c) { c.config.streams = 2; return true; }, {"x.shape", "2"}},
      {"mode 4", config_field(&mhc_config::mode, 4), {"config.mode", "4"}},
      {"mode -1", config_field(&mhc_config::mode, -1), {"config.mode", "-1"}},
      {"is_static -1", config_field(&mhc_config::is_static, -1), {"config.is_static", "-1"}},
      {"shifted -1", config_field(&mhc_config::shifted, -1), {"config.shifted", "-1"}},
      {"orientation -1", config_field(&mhc_config::orientation, -1), {"config.orientation", "-1"}},
      {"post_multiplier < 0", config_field(&mhc_config::post_multiplier, -2), {"config.post_multiplier", "-2"}},
      {"post_multiplier infinite", config_field(&mhc_config::post_multiplier, INFINITY), {"config.post_multiplier", "inf"}},
      {"streams -1", config_field(&mhc_config::streams, -1), {"config.streams", "-1", "16"}},
      {"is_static 2", config_field(&mhc_config::is_static, 2), {"config.is_static", "2"}},
      {"shifted 2", config_field(&mhc_config::shifted, 2), {"config.shifted", "2"}},
      {"orientation 2", config_field(&mhc_config::orientation, 2), {"config.orientation", "2"}},
      {"post_multiplier 0", config_field(&mhc_config::post_multiplier, 0), {"config.post_multiplier", "0"}},
      {"post_multiplier NaN", config_field(&mhc_config::post_multiplier, NAN), {"config.post_multiplier", "nan"}},
      {"projection_precision -1", config_field(&mhc_config::projection_precision, -1), {"config.projection_precision", "-1", "1"}},
      {"projection_precision 2", config_field(&mhc_config::projection_precision, 2), {"config.projection_precision", "2", "1"}},
      {"mhc_lite of 6 streams", [](Call& c) { c.config.mode = MHC_MODE_MHC_LITE; c.config.streams = 6; return true; }, {"config.streams", "6", "5"}},
  };
  return all;
}

void try_numbers(const std::vector<Number>& numbers, const std::function<std::unique_ptr<Call>()>& make, const Context& context) {
  for (const Number& number : numbers) {
    auto call = make();
    SCOPED_TRACE(number.what);
    if (number.apply(*call)) expect_refused(*call, context, number.words);
  }
}

TEST_P(Arguments, a_broken_number_is_refused) {
  auto again = [&] { return make(); };
  try_numbers(block_numbers(), again, context_);
  auto call = make();
  if (!call->config_pointer) return;
  const mhc_operation operation = call->operation();
  const bool head = operation == MHC_OP_HEAD || operation == MHC_OP_HEAD_BACKWARD;
  const bool sinkhorn = operation == MHC_OP_SINKHORN || operation == MHC_OP_SINKHORN_BACKWARD;
  if (head && *call->kind != MHC_HEAD_WEIGHTED) return;  // its config is not looked at
  if (!head) try_numbers(sinkhorn_numbers(), again, context_);
  if (!sinkhorn) try_numbers(head_numbers(), again, context_);
  if (!sinkhorn && !head) try_numbers(layer_numbers(), again, context_);
}

TEST_P(Arguments, no_context_is_refused) {
  auto call = make();
  call->poison_outputs();
  EXPECT_EQ(call->invoke(nullptr), MHC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(mhc_last_error()).find(std::string(call->function()) + ": context is NULL; expected"), std::string::npos)
      << mhc_last_error();
  EXPECT_TRUE(call->outputs_untouched());
}

TEST_P(Arguments, no_block_is_refused) {
  auto call = make();
  EXPECT_EQ(call->invoke_without_block(context_.get()), MHC_INVALID_ARGUMENT);
  const std::string expected = std::string(call->function()) + ": args is NULL; expected";
  EXPECT_EQ(std::string(mhc_last_error()).rfind(expected, 0), 0u) << mhc_last_error();
  size_t bytes = 77;
  EXPECT_EQ(mhc_workspace_size(context_.get(), call->operation(), nullptr, &bytes), MHC_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(mhc_last_error()).rfind(expected, 0), 0u) << mhc_last_error();
  EXPECT_EQ(bytes, 77u);
}

// What it takes is known without any data, is said when it is missing, and is enough.
TEST_P(Arguments, workspace_is_asked_for_by_shape) {
  auto call = make();
  for (Operand& o : call->operands()) o.tensor->get()->data = nullptr;
  size_t bytes = 0;
  ASSERT_EQ(call->workspace(context_.get(), &bytes), MHC_OK) << mhc_last_error();
  for (Operand& o : call->operands()) o.tensor->repair();
  size_t with_data = 0;
  ASSERT_EQ(call->workspace(context_.get(), &with_data), MHC_OK) << mhc_last_error();
  EXPECT_EQ(bytes, with_data);
  if (bytes == 0) return;
  expect_refused(*call, context_, {std::to_string(bytes), "mhc_context_reserve"}, MHC_WORKSPACE_TOO_SMALL);
}

INSTANTIATE_TEST_SUITE_P(all, Arguments, testing::ValuesIn(variants()), [](const auto& info) { return info.param.name; });

// ---------------------------------------------------------------------------------------------- one operation's own rows

struct Row {
  const char* what;
  Maker make;
  std::function<void(Form&)> shape;
  std::function<void(Call&)> spoil;
  std::vector<std::string> words;
};

// A tensor that does not belong into the call.
std::function<void(Call&)> extra(const std::string& name, std::vector<int64_t> shape) {
  return [name, shape](Call& call) { call.output(name, kFp32, shape); };
}
void shifted(Form& f) { f.config.shifted = 1; }
void first(Form& f) { f.first = true; }
void is_static(Form& f) { f.config.is_static = 1; }
void residual(Form& f) { f.config.mode = MHC_MODE_RESIDUAL; }
void nothing(Form&) {}
void mean(Form& f) { f.kind = MHC_HEAD_MEAN; }
void fp8(Form& f) { f.fp8 = true; }
void norm(Form& f) { f.norm = true; }
std::function<void(Call&)> without(const std::string& name) {
  return [name](Call& call) { call.drop(name); };
}
void as_is(Call&) {}
void fp8_f(Form& f) { f.fp8_f = true; }

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      // what is not there may not be given
      {"shifted_pre_mix unshifted", make_boundary, nothing, extra("shifted_pre_mix", {5, 4}), {"shifted_pre_mix", "config.shifted"}},
      {"no shifted_pre_mix", make_boundary, shifted, without("shifted_pre_mix"), {"shifted_pre_mix", "NULL"}},
      {"post_mix without f", make_boundary, first, extra("post_mix", {5, 4}), {"post_mix", "f"}},
      {"res_mix without f", make_boundary, first, extra("res_mix", {5, 4, 4}), {"res_mix", "f"}},
      {"x_next without f", make_boundary, first, extra("x_next", {5, 4, 24}), {"x_next", "f"}},
      {"f without post_mix", make_boundary, nothing, without("post_mix"), {"post_mix", "NULL"}},
      {"f without x_next", make_boundary, nothing, without("x_next"), {"x_next", "NULL"}},
      {"no h at all", make_boundary, nothing, without("h"), {"h", "y", "h_fp8", "NULL"}},
      {"y without norm_weight", make_boundary, nothing, extra("y", {5, 24}), {"y", "norm_weight"}},
      {"h_scale without h_fp8", make_boundary, nothing, extra("h_scale", {5, 1}), {"h_scale", "h_fp8"}},
      {"h_fp8 without h_scale", make_boundary, fp8, without("h_scale"), {"h_scale", "NULL"}},
      // f in FP8
      {"f_scale of an f that is not FP8", make_post, nothing, extra("f_scale", {5, 1}), {"f_scale", "NULL", "f is not float8_e4m3fn"}},
      {"f_scale of an f that is not FP8", make_post_backward, nothing, extra("f_scale", {5, 1}), {"f_scale", "NULL", "f is not float8_e4m3fn"}},
      {"f_scale of an f that is not FP8", make_boundary, nothing, extra("f_scale", {5, 1}), {"f_scale", "NULL", "f is not float8_e4m3fn"}},
      {"f_scale of an f that is not FP8", make_boundary_backward, nothing, extra("f_scale", {5, 1}), {"f_scale", "NULL", "f is not float8_e4m3fn"}},
      {"f_scale of an f that is not FP8", make_recompute, nothing, extra("layer[1].f_scale", {5, 1}), {"f_scale", "NULL", "f is not float8_e4m3fn", "layer[1]"}},
      {"f_scale without f", make_boundary, first, extra("f_scale", {5, 1}), {"f_scale", "NULL", "there is no f"}},
      {"f_scale without f", make_boundary_backward, first, extra("f_scale", {5, 1}), {"f_scale", "NULL", "there is no f"}},
      {"FP8 without f_scale", make_post, fp8_f, without("f_scale"), {"f_scale is NULL; expected a tensor [tokens=5, 1]"}},
      {"FP8 without f_scale", make_post_backward, fp8_f, without("f_scale"), {"f_scale is NULL; expected a tensor [tokens=5, 1]"}},
      {"FP8 without f_scale", make_boundary, fp8_f, without("f_scale"), {"f_scale is NULL; expected a tensor [tokens=5, 1]"}},
      {"FP8 without f_scale", make_boundary_backward, fp8_f, without("f_scale"), {"f_scale is NULL; expected a tensor [tokens=5, 1]"}},
      {"FP8 without f_scale", make_recompute, fp8_f, without("layer[1].f_scale"), {"f_scale is NULL; expected a tensor [tokens=5, 1]", "layer[1]"}},
      {"f_scale in bf16", make_post, fp8_f,
       [](Call& c) { c.replace("f_scale", std::make_unique<Tensor>(kBf16, std::vector<int64_t>{5, 1})); }, {"f_scale.dtype is bfloat16", "float32 or float8_e8m0fnu"}},
      {"d_f in FP8", make_post_backward, fp8_f,
       [](Call& c) { c.replace("d_f", std::make_unique<Tensor>(kE4m3, std::vector<int64_t>{5, 24})); }, {"d_f.dtype is float8_e4m3fn", "float32"}},
      {"d_f unlike d_h", make_boundary_backward, fp8_f,
       [](Call& c) { c.replace("d_f", std::make_unique<Tensor>(kBf16, std::vector<int64_t>{5, 24})); }, {"d_f.dtype is bfloat16", "float32, the type of d_h"}},
      {"d_f that does not go with x", make_post_backward, [](Form& f) { f.fp8_f = true; f.types = {kBf16, kBf16}; },
       [](Call& c) { c.replace("d_f", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{5, 24})); }, {"d_f.dtype is float32", "bfloat16, the type of x"}},
      {"exact scale in a byte", make_boundary, fp8,
       [](Call& c) { c.replace("h_scale", std::make_unique<Tensor>(kE8m0, std::vector<int64_t>{5, 1})); }, {"h_scale.dtype", "float8_e8m0fnu", "float32"}},
      {"exact scale in a byte", make_fp8_quantize, nothing,
       [](Call& c) { c.replace("scale", std::make_unique<Tensor>(kE8m0, std::vector<int64_t>{5, 1})); }, {"scale.dtype", "float8_e8m0fnu", "float32"}},
      {"mix of static coefficients", make_coefficients, is_static, extra("out.mix", {5, 24}), {"out.mix"}},
      {"inv_rms of static coefficients", make_coefficients, is_static, extra("out.inv_rms", {5}), {"out.inv_rms"}},
      {"mix of no coefficients", make_boundary, residual, extra("next.mix", {5, 24}), {"next.mix"}},
      {"d_projection when static", make_coefficients_backward, is_static, extra("d_parameters.projection", {24, 96}), {"d_parameters.projection"}},
      {"d_scale when static", make_boundary_backward, is_static, extra("d_parameters.scale", {3}), {"d_parameters.scale"}},
      {"d_norm_weight when static", make_coefficients_backward, is_static, extra("d_parameters.norm_weight", {96}), {"d_parameters.norm_weight"}},
      {"d_projection when static", make_boundary_backward, is_static, extra("d_parameters.projection", {24, 96}), {"d_parameters.projection"}},
      {"d_norm_weight when static", make_boundary_backward, is_static, extra("d_parameters.norm_weight", {96}), {"d_parameters.norm_weight"}},
      {"d_bias of a residual", make_coefficients_backward, residual, extra("d_parameters.bias", {24}), {"d_parameters.bias"}},
      {"d_norm_weight without it", make_coefficients_backward, nothing, extra("d_parameters.norm_weight", {96}), {"d_parameters.norm_weight"}},
      {"d_norm_weight without norm_weight", make_boundary_backward, nothing, extra("d_norm_weight", {24}), {"d_norm_weight"}},
      {"no mix", make_coefficients_backward, nothing, without("mix"), {"mix", "NULL"}},
      {"no inv_rms", make_boundary_backward, nothing, without("inv_rms"), {"inv_rms", "NULL"}},
      {"d_f without f", make_boundary_backward, first, extra("d_f", {5, 24}), {"d_f", "f"}},
      {"post_mix without f", make_boundary_backward, first, extra("post_mix", {5, 4}), {"post_mix", "f"}},
      {"res_mix without f", make_boundary_backward, first, extra("res_mix", {5, 4, 4}), {"res_mix", "f"}},
      {"shifted_pre_mix unshifted", make_boundary_backward, nothing, extra("shifted_pre_mix", {5, 4}), {"shifted_pre_mix", "config.shifted"}},
      {"no shifted_pre_mix", make_boundary_backward, shifted, without("shifted_pre_mix"), {"shifted_pre_mix", "NULL"}},
      {"d_post_mix without f", make_boundary_backward, first, extra("d_post_mix", {5, 4}), {"d_post_mix", "f"}},
      {"d_res_mix without f", make_boundary_backward, first, extra("d_res_mix", {5, 4, 4}), {"d_res_mix", "f"}},
      {"d_pre_mix_next unshifted", make_boundary_backward, nothing, extra("d_pre_mix_next", {5, 4}), {"d_pre_mix_next", "config.shifted"}},
      {"d_shifted_pre_mix unshifted", make_boundary_backward, nothing, extra("d_shifted_pre_mix", {5, 4}), {"d_shifted_pre_mix", "config.shifted"}},
      {"no d_h", make_boundary_backward, norm, without("d_h"), {"d_h", "NULL"}},
      {"mix of a mean", make_head, mean, extra("mix", {5, 4}), {"mix"}},
      {"inv_rms of a mean", make_head, mean, extra("inv_rms", {5}), {"inv_rms"}},
      {"d_projection of a mean", make_head_backward, mean, extra("d_projection", {4, 96}), {"d_projection"}},
      {"d_scale of a mean", make_head_backward, mean, extra("d_scale", {1}), {"d_scale"}},
      {"d_bias of a mean", make_head_backward, mean, extra("d_bias", {4}), {"d_bias"}},
      {"d_weight without weight", make_rmsnorm_backward, nothing, extra("d_weight", {24}), {"d_weight", "weight"}},
      {"no x in a weighted head", make_head_backward, nothing, without("x"), {"x", "NULL"}},
      {"recompute unshifted with shifted_pre_mix", make_recompute, nothing, extra("shifted_pre_mix", {5, 4}), {"shifted_pre_mix", "config.shifted"}},
      {"recompute without f in the middle", make_recompute, nothing, without("layer[1].f"), {"layer.f", "NULL", "layer[1]"}},
      {"x_next without the last f", make_recompute, nothing, without("layer[2].f"), {"layer.f", "NULL", "layer[2]"}},
      // sizes
      {"17 streams", make_pre, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_post, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_expand, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_expand_backward, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_pre_backward, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_post_backward, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_head, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_head, [](Form& f) { f.streams = 17; f.kind = MHC_HEAD_MEAN; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_head, [](Form& f) { f.streams = 17; f.kind = MHC_HEAD_SUM; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_head_backward, [](Form& f) { f.streams = 17; f.kind = MHC_HEAD_MEAN; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_head_backward, [](Form& f) { f.streams = 17; f.kind = MHC_HEAD_SUM; }, as_is, {"streams", "17", "16"}},
      {"17 streams", make_gain, [](Form& f) { f.streams = 17; }, as_is, {"streams", "17", "16"}},
      {"17 x 17", make_birkhoff, [](Form& f) { f.streams = 16; },
       [](Call& c) { c.replace("matrix", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{5, 17, 17})); }, {"matrix", "17", "16"}},
      {"no width", make_pre, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_pre_backward, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_post, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_post_backward, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_expand, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_expand_backward, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_head, [](Form& f) { f.width = 0; f.kind = MHC_HEAD_MEAN; }, as_is, {"width", "0"}},
      {"no width", make_head_backward, [](Form& f) { f.width = 0; f.kind = MHC_HEAD_MEAN; }, as_is, {"width", "0"}},
      {"no width", make_coefficients, [](Form& f) { f.width = 0; f.config.is_static = 1; }, as_is, {"width", "0"}},
      {"no width", make_coefficients_backward, [](Form& f) { f.width = 0; f.config.is_static = 1; }, as_is, {"width", "0"}},
      {"no width", make_boundary, [](Form& f) { f.width = 0; f.config.is_static = 1; }, as_is, {"width", "0"}},
      {"no width", make_boundary_backward, [](Form& f) { f.width = 0; f.config.is_static = 1; }, as_is, {"width", "0"}},
      {"no width", make_recompute, [](Form& f) { f.width = 0; f.config.is_static = 1; }, as_is, {"width", "0"}},
      {"no width", make_rmsnorm_backward, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"no width", make_rmsnorm, [](Form& f) { f.width = 0; }, as_is, {"width", "0"}},
      {"0 x 0", make_sinkhorn_backward, [](Form& f) { f.streams = 0; }, as_is, {"logits", "0"}},
      {"0 x 0", make_gain, [](Form& f) { f.streams = 0; }, as_is, {"res_mix", "0", "16"}},
      {"0 x 0", make_birkhoff, nothing,
       [](Call& c) { c.replace("matrix", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{5, 0, 0})); }, {"matrix", "0", "16"}},
      {"0 x 0", make_sinkhorn, [](Form& f) { f.streams = 0; }, as_is, {"logits", "0"}},
      {"0 x 0", make_doubly_stochastic_distance, [](Form& f) { f.streams = 0; }, as_is, {"matrix", "0"}},
      {"no layers", make_gain, [](Form& f) { f.layers = 0; }, as_is, {"res_mix", "0"}},
  };
  return all;
}

TEST(ArgumentRows, each_is_refused) {
  Random random;
  Context context;
  for (const Row& row : rows()) {
    Form form;
    row.shape(form);
    auto call = row.make(form, random);
    SCOPED_TRACE(std::string(call->function()) + ": " + row.what);
    row.spoil(*call);
    expect_refused(*call, context, row.words);
  }
}

// Streams in 16 bits want a layer of their own type.
TEST(ArgumentRows, streams_of_one_type_and_a_layer_of_another) {
  Random random;
  Context context;
  const Maker makers[] = {make_pre, make_pre_backward, make_post, make_post_backward, make_boundary, make_boundary_backward,
                          make_expand, make_expand_backward, make_head, make_head_backward, make_recompute};
  for (const Maker& make : makers)
    for (const Types& types : {Types{kBf16, kFp32}, Types{kFp16, kFp32}, Types{kBf16, kFp16}, Types{kFp16, kBf16}}) {
      Form form;
      form.types = types;
      auto call = make(form, random);
      SCOPED_TRACE(std::string(call->function()) + ": " + form.describe());
      const std::map<std::string, std::string> names = {{"fp32", "float32"}, {"bf16", "bfloat16"}, {"fp16", "float16"}};
      expect_refused(*call, context, {".dtype is " + names.at(types.layer.name), names.at(types.streams.name)});
    }
}

// A gigantic tensor that no address space could hold is refused before anybody counts its bytes.
TEST(ArgumentRows, a_tensor_that_reaches_too_far) {
  Random random;
  Context context;
  auto call = make_sinkhorn(Form{}, random);
  for (const char* name : {"logits", "out"}) (*call)[name].get()->shape[0] = int64_t{1} << 40;
  (*call)["logits"].get()->strides[0] = int64_t{1} << 40;
  size_t bytes = 77;
  EXPECT_EQ(call->workspace(context.get(), &bytes), MHC_INVALID_ARGUMENT);
  for (const char* word : {"mhc_sinkhorn: logits.strides", "1099511627776", "2^56"})
    EXPECT_NE(std::string(mhc_last_error()).find(word), std::string::npos) << mhc_last_error();
  EXPECT_EQ(bytes, 77u);
}

TEST(ArgumentRows, a_block_that_is_not_there) {
  Context context;
  EXPECT_EQ(mhc_post(context.get(), nullptr), MHC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(mhc_last_error()).find("mhc_post: args is NULL; expected"), std::string::npos) << mhc_last_error();
  EXPECT_EQ(mhc_boundary(context.get(), nullptr), MHC_INVALID_ARGUMENT);
  size_t bytes = 77;
  EXPECT_EQ(mhc_workspace_size(context.get(), MHC_OP_POST, nullptr, &bytes), MHC_INVALID_ARGUMENT);
  mhc_post_args args = {};
  args.struct_size = sizeof args;
  EXPECT_EQ(mhc_workspace_size(context.get(), 22, &args, &bytes), MHC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(mhc_last_error()).find("mhc_workspace_size: operation is 22; expected"), std::string::npos) << mhc_last_error();
  EXPECT_EQ(mhc_workspace_size(context.get(), -1, &args, &bytes), MHC_INVALID_ARGUMENT);
  EXPECT_EQ(mhc_workspace_size(context.get(), MHC_OP_POST, &args, nullptr), MHC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(mhc_last_error()).find("mhc_workspace_size: bytes is NULL; expected"), std::string::npos) << mhc_last_error();
  EXPECT_EQ(mhc_workspace_size(nullptr, MHC_OP_POST, &args, &bytes), MHC_INVALID_ARGUMENT);
  EXPECT_EQ(bytes, 77u);
}

// A block without its last field, f_scale, is what programs made with the first headers have: whatever lies behind it is not
// looked at.
TEST(ArgumentRows, a_block_that_ends_before_f_scale) {
  Random random;
  Context context;
  for (const Maker& make : {Maker(make_post), Maker(make_post_backward), Maker(make_boundary), Maker(make_boundary_backward), Maker(make_recompute)}) {
    auto whole = make(Form{}, random), part = make(Form{}, random);
    SCOPED_TRACE(whole->function());
    for (Operand& o : whole->operands())
      if (o.role == Role::input) (*part)[o.name].set_bytes(o.tensor->bytes());
    part->operands().push_back({"f_scale", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{1}), Role::input, -1, true, 0});
    part->operands().push_back({"layer[0].f_scale", std::make_unique<Tensor>(kFp32, std::vector<int64_t>{1}), Role::input, -1, true, 0});
    EXPECT_EQ(part->run(context), MHC_INVALID_ARGUMENT);
    *part->struct_size -= sizeof(void*);
    ASSERT_EQ(whole->run(context), MHC_OK) << mhc_last_error();
    ASSERT_EQ(part->run(context), MHC_OK) << mhc_last_error();
    for (Operand& o : whole->operands()) EXPECT_TRUE(same_bits(*o.tensor, (*part)[o.name])) << o.name;
  }
}

TEST(ArgumentRows, layers_of_a_recompute_must_be_given) {
  Random random;
  Context context;
  Form form;
  form.layers = 0;  // a block of layers that points nowhere
  auto call = make_recompute(form, random);
  *call->layers = 2;
  expect_refused(*call, context, {"layer", "NULL"});
}

}  // namespace
