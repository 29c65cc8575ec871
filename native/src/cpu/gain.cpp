// SPDX-License-Identifier: Apache-2.0
#include "lanes/gain.h"

#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

void put(const View& view, int64_t layer, int64_t token, double value) {
  store1(view.at<float>(layer, token), static_cast<float>(value));
}

void gain_token(const GainProblem& p, int64_t token) {
  double numbers[Gains<Alone>::numbers(kMaxStreams)];
  Gains<Alone> gains({}, p.streams, numbers, 1);
  const bool composite = p.composite_forward || p.composite_backward || p.composite_contraction;
  for (int64_t l = 0; l < p.layers; ++l) {
    gains.enter([&](int o, int i) {
      return p.orientation == MHC_OUT_IN ? load1(p.res_mix.at<float>(l, token, o) + i) : load1(p.res_mix.at<float>(l, token, i) + o);
    });
    auto write = [&](const double* h, const View& forward, const View& backward, const View& contraction) {
      if (forward) put(forward, l, token, gains.largest_row_sum(h));
      if (backward) put(backward, l, token, gains.largest_column_sum(h));
      if (contraction) put(contraction, l, token, gains.contraction(h));
    };
    write(gains.layer(), p.forward, p.backward, p.contraction);
    if (!composite) continue;
    gains.multiply(l == 0);
    write(gains.product(), p.composite_forward, p.composite_backward, p.composite_contraction);
  }
}

}  // namespace

Space gain_space(const GainProblem&, int) { return {}; }

void gain(const GainProblem& p, const Job& job) {
  for_token_blocks(job.pool, p.tokens, 8, [&](int, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) gain_token(p, t);
  });
}

}  // namespace mhc::cpu::MHC_TIER
