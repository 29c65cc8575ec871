// SPDX-License-Identifier: Apache-2.0
// One call of an operation: its arguments by name, filled with random values, ready to be run, changed or broken. What
// holds for every operation is tested over the list of them.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "golden.h"
#include "support.h"

namespace mhc_test {

enum class Role { input, output };

struct Operand {
  std::string name;  // as messages have it: "x", "parameters.bias", "next.res_mix"
  std::unique_ptr<Tensor> tensor;
  Role role;
  int token_axis;      // -1: no tokens, the same for all
  bool optional;       // the call is as good without it
  int32_t accumulate;  // the mhc_accumulate flag that makes the call add to it, or 0
};

class Call {
 public:
  Call(const char* function, mhc_operation operation) : function_(function), operation_(operation) {}
  virtual ~Call() = default;

  const char* function() const { return function_; }
  mhc_operation operation() const { return operation_; }
  std::vector<Operand>& operands() { return operands_; }

  bool has(const std::string& name) const { return find(name) != nullptr; }
  Operand* find(const std::string& name) const;
  Tensor& operator[](const std::string& name) const;
  Array values(const std::string& name) const { return has(name) ? (*this)[name].values() : Array{}; }
  void drop(const std::string& name);

  Call& input(const std::string& name, const Element& element, std::vector<int64_t> shape, const Array& values,
              int token_axis = 0, bool optional = false);
  Call& output(const std::string& name, const Element& element, std::vector<int64_t> shape, bool optional = false,
               int32_t accumulate = 0, int token_axis = 0);
  // A tensor made elsewhere in place of the operand of that name.
  void replace(const std::string& name, std::unique_ptr<Tensor> tensor);

  // Reserves what the call needs, and runs it.
  mhc_status run(mhc_context* context);
  mhc_status run(const Context& context) { return run(context.get()); }
  // Runs it on whatever workspace there is.
  virtual mhc_status invoke(mhc_context* context) = 0;
  virtual mhc_status workspace(mhc_context* context, size_t* bytes) = 0;
  // With the block as it was the last time: nothing but the operation's own work.
  virtual mhc_status invoke_again(mhc_context* context) = 0;
  // With NULL for its block.
  virtual mhc_status invoke_without_block(mhc_context* context) = 0;

  void poison_outputs();
  bool outputs_untouched();
  bool padding_intact();

  // Scalars, in every block that has them.
  mhc_config config = {};
  size_t* struct_size = nullptr;
  void** stream = nullptr;
  const mhc_config** config_pointer = nullptr;
  int32_t *accumulate = nullptr, *orientation = nullptr, *kind = nullptr, *tile = nullptr, *rounding = nullptr;
  float* eps = nullptr;
  float* amax_floor = nullptr;
  int32_t* layers = nullptr;
  Layout layout = Layout::compact;

 protected:
  mhc_tensor* pointer(const std::string& name) const { return has(name) ? (*this)[name].get() : nullptr; }
  mhc_parameters parameters(const std::string& prefix) const;
  mhc_parameter_gradients gradients(const std::string& prefix) const;
  mhc_coefficient_set coefficients(const std::string& prefix) const;

 private:
  const char* function_;
  mhc_operation operation_;
  std::vector<Operand> operands_;
};

// What a call is made of. Fields that an operation does not have are ignored.
struct Form {
  int64_t tokens = 5;
  int32_t streams = 4;
  int64_t width = 24;
  Types types = {kFp32, kFp32};
  mhc_config config = preset(MHC_PRESET_PAPER, 4);  // streams is set to the field above
  Layout layout = Layout::compact;
  bool first = false;        // a boundary without f
  bool norm = false;         // a boundary with norm_weight and y
  bool fp8 = false;          // a boundary with h_fp8
  bool fp8_f = false;        // f comes in FP8, with f_scale
  bool norm_weight = false;  // parameters.norm_weight, rmsnorm's weight
  int32_t orientation = MHC_OUT_IN;
  int32_t kind = MHC_HEAD_WEIGHTED;
  int32_t tile = MHC_FP8_TILE_1X128;
  int32_t rounding = MHC_FP8_SCALE_EXACT;
  int32_t accumulate = MHC_ACCUMULATE_NONE;
  int32_t layers = 3;
  double logits = 1;  // standard deviation of Sinkhorn's logits

  oracle::Shape shape() const { return {tokens, streams, width}; }
  std::string describe() const;
};

using Maker = std::function<std::unique_ptr<Call>(const Form&, Random&)>;

std::unique_ptr<Call> make_coefficients(const Form&, Random&);
std::unique_ptr<Call> make_coefficients_backward(const Form&, Random&);
std::unique_ptr<Call> make_sinkhorn(const Form&, Random&);           // tokens matrices of streams x streams
std::unique_ptr<Call> make_sinkhorn_backward(const Form&, Random&);
std::unique_ptr<Call> make_pre(const Form&, Random&);
std::unique_ptr<Call> make_pre_backward(const Form&, Random&);
std::unique_ptr<Call> make_post(const Form&, Random&);
std::unique_ptr<Call> make_post_backward(const Form&, Random&);
std::unique_ptr<Call> make_boundary(const Form&, Random&);
std::unique_ptr<Call> make_boundary_backward(const Form&, Random&);
std::unique_ptr<Call> make_expand(const Form&, Random&);
std::unique_ptr<Call> make_expand_backward(const Form&, Random&);
std::unique_ptr<Call> make_head(const Form&, Random&);
std::unique_ptr<Call> make_head_backward(const Form&, Random&);
std::unique_ptr<Call> make_rmsnorm(const Form&, Random&);
std::unique_ptr<Call> make_rmsnorm_backward(const Form&, Random&);
std::unique_ptr<Call> make_fp8_quantize(const Form&, Random&);  // tokens x width
std::unique_ptr<Call> make_fp8_dequantize(const Form&, Random&);
std::unique_ptr<Call> make_gain(const Form&, Random&);
std::unique_ptr<Call> make_doubly_stochastic_distance(const Form&, Random&);
std::unique_ptr<Call> make_birkhoff(const Form&, Random&);
std::unique_ptr<Call> make_recompute(const Form&, Random&);

struct Variant {
  std::string name;  // "boundary_shifted_norm" ...
  Maker make;
  Form form;
};
inline void PrintTo(const Variant& variant, std::ostream* stream) { *stream << variant.name; }
// Every operation in every form that changes what it reads and writes, on small shapes.
const std::vector<Variant>& variants();

// A golden case as a call: its shapes, types and config, and then its inputs.
Form form_of(const golden::Case& c);
void fill_from_golden(Call& call, const golden::Case& c);
// Each output that the case knows, rounded to its type from within relative times the largest value.
void expect_golden(Call& call, const golden::Case& c, double relative);

// What may have cancelled in a gradient that is a sum over all tokens and streams, of products with dots over the width, into
// one number (scale); for others the largest value already says how large the terms were.
double cancelled(const Call& call, const std::string& gradient);

// Tokens, streams and width: the quick ones, or all of the design where MHC_TEST_FULL is 1.
std::vector<oracle::Shape> shapes();
// Runs body for every tier, pair of types and shape, padded and compact in turn, with a context of two threads.
void for_each_form(const Form& start, const std::function<void(const Form&, const Context&)>& body);
// The same for FP8: tile borders, and one row and column beyond them.
void for_each_tiling(const std::function<void(const Form&, const Context&)>& body);

// F's output as operations see it, and prefix is "layer[1]." for a recompute's: f, or in FP8 f times the scales of its tiles.
Array layer_output(const Call& call, const std::string& prefix = "");

// Parameters as the oracle takes them, from the call's operands of that prefix.
oracle::Parameters oracle_parameters(const Call& call, const std::string& prefix);

}  // namespace mhc_test
