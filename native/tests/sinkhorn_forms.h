// SPDX-License-Identifier: Apache-2.0
// Iterations come in runs, after which their factors are multiplied in: less than one, one and a step, many.
#pragma once

#include "call.h"

namespace mhc_test {

template <class Body>
void for_each_number_of_iterations(const Body& body) {
  for (int32_t p : {MHC_PRESET_PAPER, MHC_PRESET_DEEPSEEK_V4, MHC_PRESET_MEGATRON, MHC_PRESET_TRANSFORMER_ENGINE})
    for (int32_t iterations : {1, 2, 31, 64, 1000})
      for (int32_t k : {2, 4, 8, 16, 17}) {
        Form form;
        form.config = preset(p, 4);
        form.config.iterations = iterations;
        form.streams = k;
        form.tokens = 2;
        body(form);
        if (testing::Test::HasFailure()) return;
      }
}

}  // namespace mhc_test
