// SPDX-License-Identifier: Apache-2.0
// How kernels see tensors: strided arrays, and pieces of eight channels of a row, which a thread moves in 16 bytes (fp32: in
// twice 16) where the row allows.
#pragma once

#include "core/operations.h"
#include "cuda/kernels.h"
#include "cuda/vec.h"
#include "lanes/repeat.h"

namespace mhc::cuda {

template <class T>
struct Array {
  T* data = nullptr;
  int64_t stride[3] = {};

  Array() = default;
  explicit Array(const View& view) : data(reinterpret_cast<T*>(view.data)), stride{view.stride[0], view.stride[1], view.stride[2]} {
    if (!view.given) data = nullptr;
  }
  MHC_FN T* at(int64_t i = 0, int64_t j = 0, int64_t k = 0) const {
    return data + i * stride[0] + j * stride[1] + k * stride[2];
  }
  MHC_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
};

// Whether all rows of a tensor begin at 16 bytes. Its last dimension is contiguous.
inline bool rows_aligned(const View& view) {
  if (!view.given) return true;
  int64_t bytes = static_cast<int64_t>(size_of(view.type));
  bool aligned = reinterpret_cast<uintptr_t>(view.data) % 16 == 0;
  for (int d = 0; d + 1 < view.rank; ++d) aligned = aligned && (view.shape[d] <= 1 || view.stride[d] * bytes % 16 == 0);
  return aligned;
}

constexpr int kPiece = 8;
enum class Use { Again, Once };

// kCount stored elements, packed as they lie in memory, in words of type Bits.
template <class T, int kCount, class Bits>
struct Packed {
  static constexpr int kWords = static_cast<int>(kCount * sizeof(T) / sizeof(Bits));
  static constexpr int kParts = static_cast<int>(sizeof(Bits) / 4);
  Bits bits[kWords];

  MHC_FN T element(int i) const {
    if constexpr (sizeof(T) == 4) {
      return float_from_bits(bits[i / kParts].word[i % kParts]);
    } else {
      T e;
      e.bits = static_cast<uint16_t>(bits[i / 2 / kParts].word[i / 2 % kParts] >> (i % 2 * 16));
      return e;
    }
  }
  // Where there is zero.
  MHC_FN void put(int i, T e) {
    if constexpr (sizeof(T) == 4) {
      bits[i / kParts].word[i % kParts] = bits_from_float(e);
    } else {
      bits[i / 2 / kParts].word[i / 2 % kParts] |= static_cast<uint32_t>(e.bits) << (i % 2 * 16);
    }
  }
  MHC_FN void clear() {
#pragma unroll
    for (int w = 0; w < kWords; ++w) bits[w] = {};
  }
  // In the places of i, which is even, and i + 1.
  MHC_FN void replace_two(int i, T first, T second) {
    static_assert(sizeof(T) == 2);
    bits[i / 2 / kParts].word[i / 2 % kParts] = first.bits | static_cast<uint32_t>(second.bits) << 16;
  }
  MHC_FN float operator[](int i) const { return widened(element(i)); }
  MHC_FN void set(const float (&v)[kCount]) {
    clear();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      T e;
      narrowed(v[i], e);
      put(i, e);
    }
  }
};

template <class T>
using Piece = Packed<T, kPiece, Bits16>;

template <class T>
MHC_FN float rounded(float v) {
  T e;
  narrowed(v, e);
  return widened(e);
}

// The first count elements at p, zeros behind; aligned as rows_aligned says.
template <class T>
MHC_FN Piece<T> load_piece(const T* p, int64_t count, bool aligned, Use use = Use::Once) {
  Piece<T> piece;
  if (aligned && count >= kPiece) {
#pragma unroll
    for (int w = 0; w < Piece<T>::kWords; ++w) {
      const char* at = reinterpret_cast<const char*>(p) + 16 * w;
      piece.bits[w] = use == Use::Once ? load16_once(at) : load16(at);
    }
    return piece;
  }
  piece.clear();
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    if (i < count) piece.put(i, load1(p + i));
  }
  return piece;
}

template <class T>
MHC_FN void store_piece(T* p, const Piece<T>& piece, int64_t count, bool aligned, Use use = Use::Once) {
  if (aligned && count >= kPiece) {
#pragma unroll
    for (int w = 0; w < Piece<T>::kWords; ++w) {
      char* at = reinterpret_cast<char*>(p) + 16 * w;
      use == Use::Once ? store16_once(at, piece.bits[w]) : store16(at, piece.bits[w]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    if (i < count) store1(p + i, piece.element(i));
  }
}

// Rounds to storage, and stores.
template <class T>
MHC_FN void store_values(T* p, const float (&v)[kPiece], int64_t count, bool aligned, Use use = Use::Once) {
  Piece<T> piece;
  piece.set(v);
  store_piece(p, piece, count, aligned, use);
}

// From run-time types to template arguments, as on the CPU: body(X{}, H{}).
template <class Body>
void with_row_types(DType streams, DType layer, const Body& body) {
  if (streams == DType::BF16) return body(bf16{}, bf16{});
  if (streams == DType::F16) return body(f16{}, f16{});
  if (layer == DType::BF16) return body(float{}, bf16{});
  if (layer == DType::F16) return body(float{}, f16{});
  return body(float{}, float{});
}
template <class Body>
void with_row_type(DType type, const Body& body) {
  if (type == DType::BF16) return body(bf16{});
  if (type == DType::F16) return body(f16{});
  return body(float{});
}
template <class Body>
void with_streams(int streams, const Body& body) {
  if (streams == 4) return body(Streams<4>{});
  return body(Streams<kAnyStreams>{});
}

// A grid of threads that share out count pieces of work between them; for_each_of is the kernel's side of it.
constexpr int kThreads = 256;
inline Grid share(int64_t count, const DeviceProperties& device) {
  int64_t blocks = (count + kThreads - 1) / kThreads, most = int64_t{16} * device.multiprocessors;
  return {blocks < most ? blocks : most, kThreads};
}
template <class Body>
MHC_FN void for_each_of(int64_t count, const Body& body) {
  int64_t step = block_count() * block_threads();
  for (int64_t i = block_index() * block_threads() + thread_index(); i < count; i += step) body(i);
}
inline int64_t pieces_of(int64_t width) { return (width + kPiece - 1) / kPiece; }

}  // namespace mhc::cuda
