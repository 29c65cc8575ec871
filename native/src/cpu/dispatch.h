// SPDX-License-Identifier: Apache-2.0
// From run-time types and sizes to template arguments.
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/operations.h"
#include "cpu/pool.h"
#include "cpu/tiers.h"
#include "cpu/vec.h"
#include "lanes/repeat.h"

namespace mhc::cpu::MHC_TIER {

template <class T>
struct Tag {
  using type = T;
};

// body(Tag<X>, Tag<H>): storage of streams and of layer tensors, in the five combinations that are allowed.
template <class Body>
void with_row_types(DType streams, DType layer, const Body& body) {
  if (streams == DType::BF16) return body(Tag<bf16>{}, Tag<bf16>{});
  if (streams == DType::F16) return body(Tag<f16>{}, Tag<f16>{});
  if (layer == DType::BF16) return body(Tag<float>{}, Tag<bf16>{});
  if (layer == DType::F16) return body(Tag<float>{}, Tag<f16>{});
  return body(Tag<float>{}, Tag<float>{});
}

template <class Body>
void with_row_type(DType type, const Body& body) {
  if (type == DType::BF16) return body(Tag<bf16>{});
  if (type == DType::F16) return body(Tag<f16>{});
  return body(Tag<float>{});
}

template <class Body>
void with_streams(int streams, const Body& body) {
  if (streams == 4) return body(Streams<4>{});
  return body(Streams<kAnyStreams>{});
}

// Calls task(worker, first, last) over [0, tokens) in runs of at most block tokens.
template <class Task>
void for_token_blocks(Pool& pool, int64_t tokens, int64_t block, const Task& task) {
  int64_t blocks = (tokens + block - 1) / block;
  pool.parallel(blocks, [&](int worker, int64_t index) {
    task(worker, index * block, std::min(tokens, (index + 1) * block));
  });
}

}  // namespace mhc::cpu::MHC_TIER
