// SPDX-License-Identifier: Apache-2.0
// Reads an operation's arguments: every descriptor is checked before any work, the first fault is kept as a sentence.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "core/view.h"
#include "mhc/mhc.h"

namespace mhc {

// A dimension that several arguments share: it takes its value from the first one that has it.
struct Dim {
  constexpr Dim(const char* name)
      : name(name), is_tokens(std::string_view(name) == "tokens"), is_width(std::string_view(name) == "width") {}
  const char* name;
  bool is_tokens, is_width;
  int64_t value = -1;
};

// One entry of an expected shape: a number, or a shared dimension.
struct Extent {
  Extent(int value) : value(value) {}
  Extent(int64_t value) : value(value) {}
  Extent(Dim& dim) : dim(&dim) {}
  int64_t value = -1;
  Dim* dim = nullptr;
};
using Shape = std::initializer_list<Extent>;

// A set of DTypes, as bits.
enum class Types : uint32_t {
  F32 = 1u << static_cast<int>(DType::F32),
  F16 = 1u << static_cast<int>(DType::F16),
  BF16 = 1u << static_cast<int>(DType::BF16),
  E4M3 = 1u << static_cast<int>(DType::E4M3),
  E8M0 = 1u << static_cast<int>(DType::E8M0),
  I32 = 1u << static_cast<int>(DType::I32),
  Row = F32 | F16 | BF16,
  RowOrE4M3 = Row | E4M3,
  Scale = F32 | E8M0
};

enum class Need { Required, Optional };
enum class LastDim { Contiguous, AnyStride };

// What a tensor is in the traffic ledger.
enum class Traffic : uint8_t { Row, Coefficient, Parameter };

class Arguments {
 public:
  // shapes_only: a question about workspace; data pointers are not looked at.
  Arguments(const char* function, mhc_device device, bool shapes_only)
      : function_(function), device_(device), shapes_only_(shapes_only) {}
  Arguments(const Arguments& other) { *this = other; }
  Arguments& operator=(const Arguments& other);

  // True until the first fault. Everything below does nothing after it.
  bool good() const { return status_ == MHC_OK; }
  mhc_status status() const { return status_; }

  // The block itself: not NULL, struct_size large enough to hold every field of this library's version, or just that of an
  // earlier one.
  bool block(const void* args, size_t expected_size, size_t earlier_size);
  bool block(const void* args, size_t expected_size) { return block(args, expected_size, expected_size); }
  void stream(const void* stream);

  View in(const char* name, const mhc_tensor* tensor, Shape shape, Types types, Need need = Need::Required,
          LastDim last = LastDim::Contiguous) {
    return read(name, tensor, shape, types, need, last, false);
  }
  View out(const char* name, const mhc_tensor* tensor, Shape shape, Types types, Need need = Need::Required,
           LastDim last = LastDim::Contiguous) {
    return read(name, tensor, shape, types, need, last, true);
  }

  // other has the type of view.
  void same_type(const char* name, const View& view, const char* other_name, const View& other);
  // Streams and layer tensors: one type, or float32 streams.
  void row_types(const char* streams_name, const View& streams, const char* layer_name, const View& layer);
  // Must not be given, because of why.
  void absent(const char* name, const mhc_tensor* tensor, const char* why);
  void in_range(const char* name, int64_t value, int64_t low, int64_t high);
  // Finite and at least low (above it if strict).
  void number(const char* name, float value, float low, bool strict);
  __attribute__((format(printf, 2, 3))) void fault(const char* format, ...);

  // Whether two tensors that were read without a fault reach over common bytes.
  bool share_memory(const mhc_tensor& one, const mhc_tensor& other) const;
  // Takes over the fault of a part of this call, saying which part.
  __attribute__((format(printf, 3, 4))) void adopt_fault(const Arguments& part, const char* format, ...);

  // No output shares memory with another argument. in_place: this output may be exactly that input.
  void no_overlap(const char* in_place_output = nullptr, const char* in_place_input = nullptr);

  // Tensors of this call that are read part by part, however many there are.
  struct Parts {
    const void* owner = nullptr;
    int32_t count = 0;
    Arguments (*read)(const void* owner, int32_t index) = nullptr;
  };
  void adopt(const Parts& parts) { parts_ = parts; }

  // Bytes from the first element to behind the last one; none if there is no element.
  struct Range {
    intptr_t first = 0, last = 0;
    bool meets(const Range& other) const { return first < other.last && other.first < last; }
  };
  // Of a tensor that was read without a fault; none while only shapes are looked at.
  Range range_of(const mhc_tensor& tensor) const;

  struct Item {
    const char* name;
    View view;
    Range range;
    bool written;
    Traffic traffic;
  };
  // Every tensor of the call, those of its parts too.
  template <class Body>
  void for_each(const Body& body) const {
    for (int i = 0; i < count_; ++i) body(items_[i]);
    for (int32_t i = 0; i < parts_.count; ++i) parts_.read(parts_.owner, i).for_each(body);
  }
  const char* function() const { return function_; }
  mhc_device device() const { return device_; }

 private:
  View read(const char* name, const mhc_tensor* tensor, Shape shape, Types types, Need need, LastDim last, bool written);
  bool check_shape(const char* name, const mhc_tensor& tensor, Shape shape);
  bool check_strides(const char* name, const View& view, LastDim last, bool written);
  void keep(const char* name, const View& view, bool written, Shape shape);

  static constexpr int kMaxItems = 64;  // boundary_backward has the most, 32
  const char* function_;
  mhc_device device_;
  bool shapes_only_;
  mhc_status status_ = MHC_OK;
  Parts parts_;
  int count_ = 0;
  union {
    Item items_[kMaxItems];  // the first count_ of them; the others are not even cleared
  };
};

const char* name_of(DType type);
size_t size_of(DType type);

}  // namespace mhc
