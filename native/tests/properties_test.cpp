// SPDX-License-Identifier: Apache-2.0
// What mhc.h promises of every operation alike: same token, same bits, whatever else is in the batch, how many threads
// work or how often it runs; nothing outside the tensors is touched; a bad token spoils no other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "call.h"

using namespace mhc_test;

namespace {

class Properties : public testing::TestWithParam<Variant> {
 protected:
  std::unique_ptr<Call> make() { return make(GetParam().form); }
  std::unique_ptr<Call> make(const Form& form) { return GetParam().make(form, random_); }
  Form form() const { return GetParam().form; }
  Random random_;
};

#define ASSERT_RUNS(call, context) ASSERT_EQ((call).run(context), MHC_OK) << mhc_last_error()

// The largest relative error of a rounding to the type.
double half_place(const Element& element) { return element == kFp32 ? 0x1p-24 : element == kBf16 ? 0x1p-9 : 0x1p-12; }

void expect_same_outputs(Call& expected, Call& actual, bool of_tokens_alone = false) {
  for (Operand& o : expected.operands()) {
    if (o.role == Role::input || !actual.has(o.name) || (of_tokens_alone && o.token_axis < 0)) continue;
    EXPECT_TRUE(same_bits(*o.tensor, actual[o.name])) << o.name;
  }
}

// Elements of one token, as bytes.
std::vector<uint8_t> token_bytes(const Operand& o, int64_t token) {
  const auto& shape = o.tensor->shape();
  const std::vector<uint8_t> all = o.tensor->bytes();
  int64_t outer = 1, inner = (int64_t)o.tensor->element().bytes;
  for (int i = 0; i < o.token_axis; ++i) outer *= shape[i];
  for (size_t i = o.token_axis + 1; i < shape.size(); ++i) inner *= shape[i];
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < outer; ++i) {
    const auto first = all.begin() + (i * shape[o.token_axis] + token) * inner;
    bytes.insert(bytes.end(), first, first + inner);
  }
  return bytes;
}

// Gives token to of one call what token from of another has; both calls differ in their number of tokens alone.
void copy_token(const Operand& source, int64_t from, Operand& target, int64_t to) {
  const auto &shape = target.tensor->shape(), &source_shape = source.tensor->shape();
  std::vector<uint8_t> all = target.tensor->bytes();
  const std::vector<uint8_t> token = token_bytes(source, from);
  int64_t outer = 1;
  for (int i = 0; i < source.token_axis; ++i) outer *= source_shape[i];
  const int64_t inner = (int64_t)token.size() / outer;
  for (int64_t i = 0; i < outer; ++i)
    std::copy_n(token.begin() + i * inner, inner, all.begin() + (i * shape[target.token_axis] + to) * inner);
  target.tensor->set_bytes(all);
}

// Token i of target gets token which[i] of source, and all of what has no tokens.
void copy_inputs(Call& source, Call& target, const std::vector<int64_t>& which) {
  for (Operand& o : source.operands()) {
    if (o.role == Role::output) continue;
    Operand& t = *target.find(o.name);
    if (o.token_axis < 0) {
      t.tensor->set_bytes(o.tensor->bytes());
    } else {
      for (size_t i = 0; i < which.size(); ++i) copy_token(o, which[i], t, (int64_t)i);
    }
  }
}

std::vector<int64_t> every_token(const Form& form) {
  std::vector<int64_t> all(form.tokens);
  for (int64_t t = 0; t < form.tokens; ++t) all[t] = t;
  return all;
}

void expect_tokens(Call& source, Call& target, const std::vector<int64_t>& which) {
  for (Operand& o : source.operands()) {
    if (o.role == Role::input || o.token_axis < 0) continue;
    for (size_t i = 0; i < which.size(); ++i)
      EXPECT_EQ(token_bytes(o, which[i]), token_bytes(*target.find(o.name), (int64_t)i))
          << o.name << ": token " << which[i] << " and token " << i;
  }
}

// The executor of CUDA kernels takes its time: fewer cases there, unless all are asked for.
bool few(int32_t tier) { return tier == kCuda && !full(); }

TEST_P(Properties, every_output_is_written_and_nothing_else) {
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (Layout layout : {Layout::compact, Layout::padded}) {
      SCOPED_TRACE(mhc_cpu_tier_name(tier));
      Form s = form();
      s.layout = layout;
      auto call = make(s);
      std::vector<std::vector<uint8_t>> before;
      for (Operand& o : call->operands()) before.push_back(o.tensor->bytes());
      ASSERT_RUNS(*call, context);
      size_t i = 0;
      for (Operand& o : call->operands()) {
        if (o.role == Role::input) {
          EXPECT_EQ(before[i], o.tensor->bytes()) << o.name << " was changed";
        } else {
          EXPECT_NE(before[i], o.tensor->bytes()) << o.name << " was not written";
        }
        EXPECT_TRUE(o.tensor->padding_intact()) << o.name << ": something beside it was written";
        ++i;
      }
    }
  }
}

TEST_P(Properties, strides_do_not_change_bits) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    Form s = form();
    auto compact = make(s);
    s.layout = Layout::padded;
    auto padded = make(s);
    for (Operand& o : compact->operands())  // a scale of powers of two may be stored in another type
      if (o.tensor->element() == (*padded)[o.name].element()) {
        if (o.role == Role::input) (*padded)[o.name].set_bytes(o.tensor->bytes());
      } else if (o.role == Role::input) {
        (*padded)[o.name].set(o.tensor->values());
      }
    ASSERT_RUNS(*compact, context);
    ASSERT_RUNS(*padded, context);
    for (Operand& o : compact->operands()) {
      if (o.role == Role::input) continue;
      if (o.tensor->element() == (*padded)[o.name].element()) {
        EXPECT_TRUE(same_bits(*o.tensor, (*padded)[o.name])) << o.name;
      } else {
        EXPECT_EQ(o.tensor->values(), (*padded)[o.name].values()) << o.name;
      }
    }
  }
}

// On the executor of the CUDA kernels: on any number of multiprocessors, on which sums over tokens may depend.
TEST_P(Properties, runs_alike_30_times_on_any_number_of_threads) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Form s = form();
    s.tokens = 67;
    auto reference = make(s), repeated = make(s);
    copy_inputs(*reference, *repeated, every_token(s));
    Context one(tier, 1);
    ASSERT_RUNS(*reference, one);
    const int most = few(tier) ? 2 : 4;
    for (int threads = 1; threads <= most; ++threads) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      const bool another_device = tier == kCuda && threads > 1;
      const Executor executor(another_device ? 5 * threads - 3 : 6, 227 << 10);
      Context context(tier, threads);
      for (int run = 0; run < (threads == 4 ? 30 : few(tier) ? 1 : 3); ++run) {
        repeated->poison_outputs();
        ASSERT_RUNS(*repeated, context);
        expect_same_outputs(*reference, *repeated, another_device);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST_P(Properties, a_token_does_not_depend_on_its_batch) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    Form s = form();
    s.tokens = 35;
    auto whole = make(s);
    if (whole->operands()[0].token_axis < 0) return;  // a square tile is of many rows
    ASSERT_RUNS(*whole, context);
    for (const std::vector<int64_t>& which : std::vector<std::vector<int64_t>>{{34}, {3, 3}, {20, 1, 34, 1, 7}, {0, 33, 2, 31, 30, 2, 9, 8, 7, 6, 0}}) {
      s.tokens = (int64_t)which.size();
      auto part = make(s);
      copy_inputs(*whole, *part, which);
      ASSERT_RUNS(*part, context);
      expect_tokens(*whole, *part, which);
    }
  }
}

// Large batches may have their parameters laid out anew first. Wide enough for more than one chunk of channels.
TEST(LargeBatch, gives_a_token_the_bits_of_a_small_one) {
  Random random;
  const std::vector<int64_t> which = {0, 299, 17};
  for (int32_t tier : tiers()) {
    Context context(tier, 2);
    for (int64_t width : {32, 2085})
      for (const Maker& make : {Maker(make_boundary), Maker(make_recompute)}) {
        Form form;
        form.types = {kBf16, kBf16};
        form.width = width;
        form.tokens = 300;
        auto whole = make(form, random);
        SCOPED_TRACE(std::string(whole->function()) + ", " + mhc_cpu_tier_name(tier) + ", C=" + std::to_string(width));
        ASSERT_RUNS(*whole, context);
        form.tokens = (int64_t)which.size();
        auto part = make(form, random);
        copy_inputs(*whole, *part, which);
        ASSERT_RUNS(*part, context);
        expect_tokens(*whole, *part, which);
      }
  }
}

TEST_P(Properties, no_tokens_is_no_work) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    Form s = form();
    s.tokens = 0;
    auto call = make(s);
    ASSERT_RUNS(*call, context);
    for (Operand& o : call->operands()) {
      if (o.role == Role::input || o.token_axis >= 0) continue;
      EXPECT_EQ(o.tensor->values(), Array(o.tensor->count())) << o.name << ": a sum over no tokens";
    }
  }
}

// Every tail that a vector loop can leave, each tensor flush against a page that may not be touched.
TEST_P(Properties, every_tail_ends_before_the_protected_page) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    Form s = form();
    s.tokens = 2;
    for (const Types& types : kTypes) {
      s.types = types;
      for (int64_t width = 1; width <= (full() ? 140 : 35); width += few(tier) ? 5 : 1) {
        s.width = width;
        auto call = make(s);
        ASSERT_RUNS(*call, context);
        ASSERT_TRUE(call->padding_intact()) << s.describe();
      }
    }
  }
}

TEST_P(Properties, a_bad_token_spoils_no_other) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    Form s = form();
    s.tokens = 19;
    auto good = make(s), bad = make(s);
    if (good->operands()[0].token_axis < 0) return;  // a square tile is of many rows
    ASSERT_RUNS(*good, context);
    const std::vector<int64_t> all = every_token(s);
    const int64_t token = random_.integer(0, s.tokens - 1);
    for (double value : {(double)NAN, (double)INFINITY, -(double)INFINITY})
      for (Operand& o : bad->operands()) {
        if (o.role == Role::output || o.token_axis < 0 || o.tensor->element() == kE8m0) continue;
        copy_inputs(*good, *bad, all);
        auto poisoned = make([&] { Form one = s; one.tokens = 1; return one; }());
        Tensor& source = (*poisoned)[o.name];
        source.set(Array(source.count(), value));
        copy_token(*poisoned->find(o.name), 0, o, token);
        ASSERT_RUNS(*bad, context);
        for (Operand& result : good->operands()) {
          if (result.role == Role::input || result.token_axis < 0) continue;
          for (int64_t t = 0; t < s.tokens; ++t) {
            if (t == token) continue;
            EXPECT_EQ(token_bytes(result, t), token_bytes(*bad->find(result.name), t))
                << value << " in token " << token << " of " << o.name << " shows in token " << t << " of " << result.name;
          }
        }
        if (testing::Test::HasFailure()) return;
      }
  }
}

TEST_P(Properties, optional_outputs_can_be_left_out) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    auto all = make();
    ASSERT_RUNS(*all, context);
    std::vector<std::string> optional;
    for (Operand& o : all->operands())
      if (o.role == Role::output && o.optional) optional.push_back(o.name);
    auto some = make();
    copy_inputs(*all, *some, every_token(form()));
    for (const std::string& name : optional) {  // one after the other, until none is left
      some->drop(name);
      some->poison_outputs();
      ASSERT_RUNS(*some, context) << "without " << name;
      expect_same_outputs(*all, *some);
    }
  }
}

TEST_P(Properties, an_optional_gradient_left_out_is_zero) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    auto zero = make();
    std::vector<std::string> optional;
    for (Operand& o : zero->operands())
      if (o.role == Role::input && o.optional) optional.push_back(o.name);
    if (optional.empty()) return;
    auto absent = make();
    copy_inputs(*zero, *absent, every_token(form()));
    for (const std::string& name : optional) {
      (*zero)[name].set(Array((*zero)[name].count()));
      absent->drop(name);
      ASSERT_RUNS(*zero, context);
      ASSERT_RUNS(*absent, context) << "without " << name;
      for (Operand& o : zero->operands()) {
        if (o.role == Role::input) continue;  // as values: 0 and -0 are one
        EXPECT_EQ(o.tensor->values(), (*absent)[o.name].values()) << o.name << " without " << name;
      }
    }
  }
}

// What is accumulated is the sum of what was there and what would have been written, in float32, rounded once.
TEST_P(Properties, accumulates_what_is_asked_for) {
  for (int32_t tier : tiers()) {
    SCOPED_TRACE(mhc_cpu_tier_name(tier));
    Context context(tier, 2);
    for (int32_t flags : {1, 2, 3}) {
      Form s = form();
      s.types = kTypes[flags];
      auto written = make(s);
      if (!written->accumulate) return;
      ASSERT_RUNS(*written, context);
      s.accumulate = flags;
      auto added = make(s);
      copy_inputs(*written, *added, every_token(s));
      for (Operand& o : added->operands())
        if (o.role == Role::output) o.tensor->set(random_.normals(o.tensor->count()));
      std::vector<Array> before;
      for (Operand& o : added->operands()) before.push_back(o.tensor->values());
      ASSERT_RUNS(*added, context);
      size_t i = 0;
      for (Operand& o : added->operands()) {
        const Array& start = before[i++];
        if (o.role == Role::input) continue;
        if (o.accumulate & flags) {
          Array expected = (*written)[o.name].values(), slack = expected;
          const double size = largest(expected);
          for (size_t k = 0; k < expected.size(); ++k) {  // what was written had been rounded, what is added had not
            slack[k] = 2 * half_place(o.tensor->element()) * std::fabs(expected[k]) + 1e-6 * (1 + size);
            expected[k] += start[k];
          }
          EXPECT_TRUE(rounds_to(*o.tensor, expected, slack)) << o.name << " with flags " << flags;
        } else {
          EXPECT_TRUE(same_bits((*written)[o.name], *o.tensor)) << o.name << " with flags " << flags;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(all, Properties, testing::ValuesIn(variants()), [](const auto& info) { return info.param.name; });

}  // namespace
