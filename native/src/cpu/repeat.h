// SPDX-License-Identifier: Apache-2.0
// Short loops over streams: written out where their number is known, so that arrays of vectors stay in registers.
#pragma once

#include <type_traits>
#include <utility>

#include "cpu/dispatch.h"

#if defined(__SANITIZE_ADDRESS__)  // written out, and checked at each access, they take GCC minutes
#define MHC_INLINE
#else
#define MHC_INLINE __attribute__((always_inline))
#endif

namespace mhc::cpu::MHC_TIER {

// body(0) ... body(n - 1); N is n where it is known, else kAnyStreams.
template <int N, class Body>
MHC_INLINE inline void repeat(int n, Body&& body) {
  if constexpr (N == kAnyStreams) {
    for (int i = 0; i < n; ++i) body(i);
  } else {
    [&]<int... I>(std::integer_sequence<int, I...>) MHC_INLINE { (body(std::integral_constant<int, I>{}), ...); }
    (std::make_integer_sequence<int, N>{});
  }
}

template <int N>
inline constexpr int kRoom = N == kAnyStreams ? kMaxStreams : N;

}  // namespace mhc::cpu::MHC_TIER
