// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "device_memory.h"

namespace mhc_test {

Operand* Call::find(const std::string& name) const {
  for (const Operand& operand : operands_)
    if (operand.name == name) return const_cast<Operand*>(&operand);
  return nullptr;
}

Tensor& Call::operator[](const std::string& name) const {
  Operand* operand = find(name);
  if (!operand) throw std::logic_error(std::string(function_) + " has no operand " + name);
  return *operand->tensor;
}

void Call::drop(const std::string& name) {
  operands_.erase(std::remove_if(operands_.begin(), operands_.end(), [&](const Operand& o) { return o.name == name; }),
                  operands_.end());
}

Call& Call::input(const std::string& name, const Element& element, std::vector<int64_t> shape, const Array& values,
                  int token_axis, bool optional) {
  auto tensor = std::make_unique<Tensor>(element, std::move(shape), layout);
  tensor->set(values);
  operands_.push_back({name, std::move(tensor), Role::input, token_axis, optional, 0});
  return *this;
}

Call& Call::output(const std::string& name, const Element& element, std::vector<int64_t> shape, bool optional,
                   int32_t accumulate, int token_axis) {
  operands_.push_back({name, std::make_unique<Tensor>(element, std::move(shape), layout), Role::output, token_axis, optional,
                       accumulate});
  return *this;
}

void Call::replace(const std::string& name, std::unique_ptr<Tensor> tensor) { find(name)->tensor = std::move(tensor); }

mhc_status Call::run(mhc_context* context) {
  mhc_context_info info = {};
  info.struct_size = sizeof info;
  mhc_context_get_info(context, &info);
  for (Operand& operand : operands_) operand.tensor->set_device(info.device);
  size_t bytes = 0;
  mhc_status status = workspace(context, &bytes);
  if (status == MHC_OK) status = mhc_context_reserve(context, bytes);
  if (status != MHC_OK) return status;
  std::vector<Tensor*> tensors;
  for (Operand& operand : operands_) tensors.push_back(operand.tensor.get());
  DeviceCopies copies(context, tensors);
  return invoke(context);
}

void Call::poison_outputs() {
  for (Operand& operand : operands_)
    if (operand.role == Role::output) operand.tensor->poison();
}

bool Call::outputs_untouched() {
  return std::all_of(operands_.begin(), operands_.end(),
                     [](const Operand& o) { return o.role == Role::input || o.tensor->is_poisoned(); });
}

bool Call::padding_intact() {
  return std::all_of(operands_.begin(), operands_.end(), [](const Operand& o) { return o.tensor->padding_intact(); });
}

mhc_parameters Call::parameters(const std::string& prefix) const {
  return {pointer(prefix + "projection"), pointer(prefix + "scale"), pointer(prefix + "bias"), pointer(prefix + "norm_weight")};
}

mhc_parameter_gradients Call::gradients(const std::string& prefix) const {
  return {pointer(prefix + "projection"), pointer(prefix + "scale"), pointer(prefix + "bias"), pointer(prefix + "norm_weight")};
}

mhc_coefficient_set Call::coefficients(const std::string& prefix) const {
  return {pointer(prefix + "pre_mix"), pointer(prefix + "post_mix"), pointer(prefix + "res_mix"), pointer(prefix + "mix"),
          pointer(prefix + "inv_rms")};
}

std::string Form::describe() const {
  return "T=" + std::to_string(tokens) + " n=" + std::to_string(streams) + " C=" + std::to_string(width) + " " +
         types.streams.name + "/" + types.layer.name + (fp8_f ? " f in FP8" : "") +
         (layout == Layout::padded ? " padded" : "");
}

Array layer_output(const Call& call, const std::string& prefix) {
  if (!call.has(prefix + "f_scale")) return call.values(prefix + "f");
  const Tensor& f = call[prefix + "f"];
  return oracle::rounded(oracle::Type::fp32, oracle::fp8_dequantize(f.bytes(), call.values(prefix + "f_scale"), f.shape()[0],
                                                                    f.shape()[1], MHC_FP8_TILE_1X128));
}

oracle::Parameters oracle_parameters(const Call& call, const std::string& prefix) {
  return {call.values(prefix + "projection"), call.values(prefix + "scale"), call.values(prefix + "bias"),
          call.values(prefix + "norm_weight")};
}

namespace {

std::string golden_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

Element element_of(const std::string& name) {
  for (const Element& element : {kBf16, kFp16, kFp32})
    if (name == element.name) return element;
  throw std::logic_error("no element " + name);
}

}  // namespace

void fill_from_golden(Call& call, const golden::Case& c) {
  for (Operand& operand : call.operands()) {
    if (operand.role == Role::output) continue;
    const std::string name = golden_name(operand.name);
    bool found = false;
    for (const char* prefix : {"", "out_", "next_"}) {  // a backward's mix is what the forward saved
      if (found || !c.has(prefix + name)) continue;
      operand.tensor->set(c.values(prefix + name));
      found = true;
    }
    if (!found) throw std::logic_error(c.name() + " has no tensor for " + operand.name);
  }
}

Form form_of(const golden::Case& c) {
  Form s;
  if (c.has_attr("dtype")) s.types = {element_of(c.text("dtype")), element_of(c.text("layer_dtype"))};
  if (c.has_attr("mode")) s.config = c.config();
  for (const char* name : {"x", "logits", "res_mix", "src", "embedding"}) {
    if (!c.has(name)) continue;
    const auto& shape = c.tensor(name).shape;
    s.tokens = shape[0];
    if (c.text("operation") == "gain") {
      s.layers = (int32_t)shape[0];
      s.tokens = shape[1];
    }
    s.streams = shape.size() >= 3 ? (int32_t)shape[shape.size() == 3 ? 1 : 2] : s.config.streams;
    s.width = shape.back();
    break;
  }
  if (c.has_attr("orientation")) s.orientation = (int32_t)c.integer("orientation");
  if (c.has_attr("kind")) s.kind = (int32_t)c.integer("kind");
  if (c.has_attr("tile")) s.tile = (int32_t)c.integer("tile");
  if (c.has_attr("scale_rounding")) s.rounding = (int32_t)c.integer("scale_rounding");
  if (c.has_attr("fp8_scale_rounding")) s.rounding = (int32_t)c.integer("fp8_scale_rounding");
  s.first = c.has_attr("first") && c.integer("first");
  s.norm = c.has("norm_weight");
  s.fp8 = c.has("h_fp8");
  s.norm_weight = c.has("parameters_norm_weight") || c.has("weight");
  return s;
}

void expect_golden(Call& call, const golden::Case& c, double relative) {
  for (Operand& operand : call.operands()) {
    const std::string name = golden_name(operand.name);
    if (operand.role == Role::input || !c.has(name)) continue;
    const Array expected = c.values(name);
    EXPECT_TRUE(rounds_to(*operand.tensor, expected, Array(expected.size(), relative * largest(expected))))
        << c.name() << " " << operand.name;
  }
}

double cancelled(const Call& call, const std::string& gradient) {
  const bool single = gradient == "d_scale" || gradient == "d_parameters.scale";
  return single ? 0.1 * std::sqrt((double)call["d_x"].count()) : 1e-25;
}

std::vector<oracle::Shape> shapes() {
  std::vector<oracle::Shape> all = {{1, 4, 1},  {7, 4, 32},  {13, 4, 127}, {3, 1, 40}, {3, 2, 33},  {3, 3, 65},
                                    {2, 5, 31}, {2, 6, 17},  {2, 7, 9},    {3, 8, 48}, {2, 16, 24}, {65, 4, 70},
                                    {2, 4, 1280}};
  if (!full()) return all;
  for (const oracle::Shape& s : std::vector<oracle::Shape>{{1, 4, 7168},   {7, 4, 5129},  {13, 4, 4096}, {64, 4, 2560},
                                                           {137, 4, 1280}, {1025, 4, 127}, {4096, 4, 32}, {13, 8, 1280},
                                                           {7, 16, 513},   {65, 2, 1000}, {31, 3, 300}})
    all.push_back(s);
  return all;
}

void for_each_form(const Form& start, const std::function<void(const Form&, const Context&)>& body) {
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    bool padded = false;
    for (const Types& types : kTypes)
      for (const oracle::Shape& shape : shapes()) {
        Form form = start;
        form.tokens = shape.tokens;
        form.streams = (int32_t)shape.streams;
        form.width = shape.width;
        form.types = types;
        form.layout = padded ? Layout::padded : Layout::compact;
        padded = !padded;
        SCOPED_TRACE(tier_name(tier) + ", " + form.describe());
        body(form, context);
        if (testing::Test::HasFailure()) return;  // one message tells enough
      }
  }
}

void for_each_tiling(const std::function<void(const Form&, const Context&)>& body) {
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 127}, {128, 128}, {5, 129}, {129, 257}, {130, 40}})
      for (int32_t tile : {MHC_FP8_TILE_1X128, MHC_FP8_TILE_128X128})
        for (int32_t rounding : {MHC_FP8_SCALE_EXACT, MHC_FP8_SCALE_POWER_OF_TWO})
          for (const Element& element : {kFp32, kBf16, kFp16})
            for (Layout layout : {Layout::compact, Layout::padded}) {
              Form form;
              form.tokens = rows;
              form.width = columns;
              form.tile = tile;
              form.rounding = rounding;
              form.types = {element, element};
              form.layout = layout;
              SCOPED_TRACE(tier_name(tier) + ", " + form.describe() + " tile " + std::to_string(tile) +
                           " rounding " + std::to_string(rounding));
              body(form, context);
              if (testing::Test::HasFailure()) return;
            }
  }
}

}  // namespace mhc_test
