// SPDX-License-Identifier: Apache-2.0
// How many kernels an operation takes.
#include <dlfcn.h>

#include <cstdlib>

#include "call.h"

using namespace mhc_test;

namespace {

int64_t launches() {
  static const auto count = [] {
    void* library = dlopen(std::getenv("MHC_CUDA_LIBRARY"), RTLD_NOLOAD | RTLD_LAZY);
    auto found = library ? reinterpret_cast<int64_t (*)()>(dlsym(library, "mhc_executor_launches")) : nullptr;
    if (!found) throw std::runtime_error("the executor does not say how many kernels it ran");
    return found;
  }();
  return count();
}

int64_t launches_of(Call& call, const Context& context) {
  EXPECT_EQ(call.run(context), MHC_OK) << mhc_last_error();
  const int64_t before = launches();
  EXPECT_EQ(call.invoke_again(context.get()), MHC_OK) << mhc_last_error();
  return launches() - before;
}

struct Row {
  const char* name;
  Maker make;
  void (*change)(Form&);
  int64_t launches;
};

// The single pass is one launch at any number of tokens, so that a few tokens wait for one only.
TEST(Launches, are_one_for_a_boundary) {
  const Row rows[] = {
      {"as it is", make_boundary, [](Form&) {}, 1},
      {"shifted", make_boundary, [](Form& f) { f.config = preset(MHC_PRESET_DEEPSEEK_V4_1, 4); }, 1},
      {"the first", make_boundary, [](Form& f) { f.first = true; }, 1},
      {"RMSNorm", make_boundary, [](Form& f) { f.norm = true; }, 1},
      {"RMSNorm and FP8", make_boundary, [](Form& f) { f.norm = f.fp8 = true; }, 1},
      {"F's output in FP8", make_boundary, [](Form& f) { f.fp8_f = true; }, 1},
      {"weights of the norm", make_boundary, [](Form& f) { f.norm_weight = true; }, 1},
      {"coefficients", make_coefficients, [](Form&) {}, 1},
  };
  Random random;
  const Context context(kCuda);
  for (const Row& row : rows)
    for (const Types& types : kTypes)
      for (int64_t tokens : {1, 64, 300}) {
        Form form;
        form.tokens = tokens;
        form.width = 256;
        form.types = types;
        row.change(form);
        auto call = row.make(form, random);
        EXPECT_EQ(launches_of(*call, context), row.launches) << row.name << ", " << form.describe();
      }
}

}  // namespace
