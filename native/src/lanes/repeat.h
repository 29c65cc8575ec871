// SPDX-License-Identifier: Apache-2.0
// Short loops over streams: written out where their number is known, so that arrays of numbers stay in registers.
#pragma once

#include <type_traits>
#include <utility>

#include "lanes/target.h"

namespace MHC_LANES {

// Number of streams: known while compiling for 4, which every published model has; kAnyStreams otherwise.
constexpr int kAnyStreams = 0, kMaxStreams = 16;
template <int N>
using Streams = std::integral_constant<int, N>;
template <int N>
inline constexpr int kRoom = N == kAnyStreams ? kMaxStreams : N;

#if defined(__CUDACC__)
template <int I, int N, class Body>
MHC_FN void repeat_from(Body&& body) {
  if constexpr (I < N) {
    body(std::integral_constant<int, I>{});
    repeat_from<I + 1, N>(body);
  }
}
#endif

// body(0) ... body(n - 1); N is n where it is known, else kAnyStreams.
template <int N, class Body>
MHC_FN void repeat(int n, Body&& body) {
  if constexpr (N == kAnyStreams) {
    for (int i = 0; i < n; ++i) body(i);
  } else {
#if defined(__CUDACC__)
    repeat_from<0, N>(body);
#else
    [&]<int... I>(std::integer_sequence<int, I...>) MHC_INLINE { (body(std::integral_constant<int, I>{}), ...); }
    (std::make_integer_sequence<int, N>{});
#endif
  }
}

}  // namespace MHC_LANES
