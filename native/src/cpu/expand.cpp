// SPDX-License-Identifier: Apache-2.0
#include "cpu/dispatch.h"
#include "cpu/kernels.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// The same type: elements as they are, whatever their bits. Otherwise from a shorter type, exact.
template <class X, class H>
void expand_token(const ExpandProblem& p, int64_t token) {
  constexpr int64_t kRun = 512;
  const H* embedding = p.embedding.at<H>(token);
  X run[kRun];
  for (int64_t c = 0; c < p.sizes.width; c += kRun) {
    const int64_t count = std::min(kRun, p.sizes.width - c);
    if constexpr (std::is_same_v<X, H>) {
      for (int64_t k = 0; k < count; ++k) run[k] = load1(embedding + c + k);
    } else {
      for (int64_t k = 0; k < count; k += W) store(run + k, load_upto(embedding + c + k, count - k));
    }
    for (int i = 0; i < p.sizes.streams; ++i) {
      X* x = p.x.at<X>(token, i) + c;
      for (int64_t k = 0; k < count; ++k) store1(x + k, run[k]);
    }
  }
}

}  // namespace

Space expand_space(const ExpandProblem&, int) { return {}; }

void expand(const ExpandProblem& p, const Job& job) {
  with_row_types(p.x.type, p.embedding.type, [&](auto x, auto h) {
    for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        expand_token<typename decltype(x)::type, typename decltype(h)::type>(p, t);
      }
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
