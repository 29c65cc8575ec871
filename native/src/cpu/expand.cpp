// SPDX-License-Identifier: Apache-2.0
#include "cpu/dispatch.h"
#include "cpu/kernels.h"
#include "cpu/past_caches.h"

namespace mhc::cpu::MHC_TIER {
namespace {

// The same type: elements as they are, whatever their bits. Otherwise from a shorter type, exact.
template <class X, class H>
Packed<X> load_as(const H* p) {
  if constexpr (std::is_same_v<X, H>) {
    return load_packed(p);
  } else {
    return pack<X>(load(p));
  }
}

template <class X, class H>
void expand_token(const ExpandProblem& p, bool past_caches, int64_t token) {
  const H* embedding = p.embedding.at<H>(token);
  X* x[kMaxStreams];
  for (int i = 0; i < p.sizes.streams; ++i) x[i] = p.x.at<X>(token, i);
  int64_t c = 0;
  for (; c + W <= p.sizes.width; c += W) {
    prefetch(embedding + p.embedding.stride[0] + c);
    const Packed<X> value = load_as<X>(embedding + c);
    for (int i = 0; i < p.sizes.streams; ++i) past_caches ? stream(x[i] + c, value) : store(x[i] + c, value);
  }
  const int64_t left = p.sizes.width - c;
  X last[W];
  if constexpr (std::is_same_v<X, H>) {
    copy_upto(embedding + c, last, left);
  } else {
    store(last, load_upto(embedding + c, left));
  }
  for (int i = 0; i < p.sizes.streams; ++i) {
    for (int64_t k = 0; k < left; ++k) store1(x[i] + c + k, last[k]);
  }
}

}  // namespace

Space expand_space(const ExpandProblem&, int) { return {}; }

void expand(const ExpandProblem& p, const Job& job) {
  const bool past_caches = larger_than_caches(p.x);
  with_row_types(p.x.type, p.embedding.type, [&](auto x, auto h) {
    for_token_blocks(job.pool, p.sizes.tokens, 16, [&](int, int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        expand_token<typename decltype(x)::type, typename decltype(h)::type>(p, past_caches, t);
      }
      stream_fence();
    });
  });
}

}  // namespace mhc::cpu::MHC_TIER
