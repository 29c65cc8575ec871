// SPDX-License-Identifier: Apache-2.0
// A small network from embedding to loss and back, out of the library's operations alone, against PyTorch's autograd.
#include "call.h"

using namespace mhc_test;

namespace {

class Chain : public testing::TestWithParam<std::string> {
 protected:
  Chain() : case_(GetParam()) {
    const auto& embedding = case_.tensor("embedding");
    form_ = form_of(case_);
    form_.streams = form_.config.streams;
    form_.tokens = embedding.shape[0];
    form_.width = embedding.shape[1];
    form_.orientation = form_.config.orientation;
    layers_ = (int32_t)case_.integer("layers");
  }

  static std::string layer(int32_t l) { return "layer" + std::to_string(l) + "_"; }

  void run(Call& call) { ASSERT_EQ(call.run(*context_), MHC_OK) << mhc_last_error(); }

  // Inputs by the case's names, then what earlier calls gave.
  void give(Call& call, const std::string& name, const Array& values) {
    if (call.has(name)) call[name].set(values);
  }
  void give_parameters(Call& call, const std::string& prefix, const std::string& source) {
    for (const char* name : {"projection", "scale", "bias"}) give(call, prefix + name, case_.values(source + name));
  }

  void expect(Call& call, const std::string& output, const std::string& name) {
    const Array exact = case_.values(name);
    const double relative = form_.types.streams == kFp32 ? 2e-4 : 0x1p-7;  // gradients pass through bf16 between layers
    const bool gradient = name.find("d_") != std::string::npos;
    EXPECT_TRUE(rounds_to(call[output], exact, Array(exact.size(), (gradient ? relative : 3e-6) * largest(exact)))) << name;
  }

  std::unique_ptr<Call> boundary_forward(int32_t l) {
    Form form = form_;
    form.first = l == 0;
    auto call = make_boundary(form, random_);
    give_parameters(*call, "parameters.", layer(l) + "parameters_");
    give(*call, "x", x_.back());
    if (l > 0) {
      Call& before = *boundaries_.back();
      give(*call, "f", case_.values(layer(l - 1) + "f"));
      give(*call, "post_mix", before.values("next.post_mix"));
      give(*call, "res_mix", before.values("next.res_mix"));
    }
    if (form.config.shifted)
      give(*call, "shifted_pre_mix", l == 0 ? case_.values("shifted_pre_mix") : boundaries_.back()->values("next.pre_mix"));
    run(*call);
    expect(*call, "h", layer(l) + "h");
    if (l > 0) {
      expect(*call, "x_next", layer(l - 1) + "x_next");
      x_.push_back(call->values("x_next"));
    }
    return call;
  }

  void forward() {
    auto expand = make_expand(form_, random_);
    give(*expand, "embedding", case_.values("embedding"));
    run(*expand);
    x_.push_back(expand->values("x"));
    for (int32_t l = 0; l < layers_; ++l) boundaries_.push_back(boundary_forward(l));
    auto post = make_post(form_, random_);
    give(*post, "x", x_.back());
    give(*post, "f", case_.values(layer(layers_ - 1) + "f"));
    give(*post, "post_mix", boundaries_.back()->values("next.post_mix"));
    give(*post, "res_mix", boundaries_.back()->values("next.res_mix"));
    run(*post);
    expect(*post, "x_next", layer(layers_ - 1) + "x_next");
    x_.push_back(post->values("x_next"));
    end_ = form_.config.shifted ? make_pre(form_, random_) : make_head(form_, random_);
    give(*end_, "x", x_.back());
    give(*end_, "pre_mix", boundaries_.back()->values("next.pre_mix"));
    give_parameters(*end_, "", "head_");
    run(*end_);
    expect(*end_, form_.config.shifted ? "h" : "y", "y");
  }

  // The end of the network: leaves d_x_ and, where it is used there, d_pre_mix_.
  void backward_of_end() {
    if (form_.config.shifted) {
      auto pre = make_pre_backward(form_, random_);
      give(*pre, "x", x_.back());
      give(*pre, "pre_mix", end_->values("pre_mix"));
      give(*pre, "d_h", case_.values("d_y"));
      run(*pre);
      d_x_ = pre->values("d_x");
      d_pre_mix_ = pre->values("d_pre_mix");
      return;
    }
    auto head = make_head_backward(form_, random_);
    give(*head, "x", x_.back());
    give_parameters(*head, "", "head_");
    give(*head, "mix", end_->values("mix"));
    give(*head, "inv_rms", end_->values("inv_rms"));
    give(*head, "d_y", case_.values("d_y"));
    run(*head);
    for (const char* name : {"d_projection", "d_scale", "d_bias"}) expect(*head, name, std::string("head_") + name);
    d_x_ = head->values("d_x");
  }

  void backward_of_post() {
    auto post = make_post_backward(form_, random_);
    give(*post, "x", x_[layers_ - 1]);
    give(*post, "f", case_.values(layer(layers_ - 1) + "f"));
    give(*post, "post_mix", boundaries_.back()->values("next.post_mix"));
    give(*post, "res_mix", boundaries_.back()->values("next.res_mix"));
    give(*post, "d_x_next", d_x_);
    run(*post);
    expect(*post, "d_f", layer(layers_ - 1) + "d_f");
    d_x_ = post->values("d_x");
    d_post_mix_ = post->values("d_post_mix");
    d_res_mix_ = post->values("d_res_mix");
  }

  void backward_of_boundary(int32_t l) {
    Form form = form_;
    form.first = l == 0;
    auto call = make_boundary_backward(form, random_);
    Call& forward = *boundaries_[l];
    for (Operand& o : forward.operands())
      if (o.role == Role::input) (*call)[o.name].set_bytes(o.tensor->bytes());
    give(*call, "mix", forward.values("next.mix"));
    give(*call, "inv_rms", forward.values("next.inv_rms"));
    give(*call, "d_h", case_.values(layer(l) + "d_h"));
    give(*call, "d_x_next", d_x_);
    give(*call, "d_pre_mix_next", d_pre_mix_);
    give(*call, "d_post_mix_next", d_post_mix_);
    give(*call, "d_res_mix_next", d_res_mix_);
    run(*call);
    for (const std::string name : {"projection", "scale", "bias"}) expect(*call, "d_parameters." + name, layer(l) + "d_parameters_" + name);
    d_x_ = call->values("d_x");
    d_pre_mix_ = call->values("d_shifted_pre_mix");
    if (l == 0) return;
    expect(*call, "d_f", layer(l - 1) + "d_f");
    d_post_mix_ = call->values("d_post_mix");
    d_res_mix_ = call->values("d_res_mix");
  }

  golden::Case case_;
  Form form_;
  Random random_;
  int32_t layers_ = 0;
  std::unique_ptr<Context> context_;
  std::vector<Array> x_;  // x_[l] enters layer l
  std::vector<std::unique_ptr<Call>> boundaries_;
  std::unique_ptr<Call> end_;
  Array d_x_, d_pre_mix_, d_post_mix_, d_res_mix_;
};

TEST_P(Chain, agrees_with_autograd) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    context_ = std::make_unique<Context>(tier, 2);
    x_.clear();
    boundaries_.clear();
    forward();
    backward_of_end();
    backward_of_post();
    for (int32_t l = layers_; l-- > 0;) backward_of_boundary(l);
    auto expand = make_expand_backward(form_, random_);
    give(*expand, "d_x", d_x_);
    run(*expand);
    expect(*expand, "d_embedding", "d_embedding");
  }
}

INSTANTIATE_TEST_SUITE_P(all, Chain, testing::ValuesIn(golden::cases("chain")), [](const auto& info) { return info.param; });

}  // namespace
