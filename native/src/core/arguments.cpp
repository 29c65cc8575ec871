// SPDX-License-Identifier: Apache-2.0
#include "core/arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "core/error.h"

namespace mhc {
namespace {

// A short text built in place; what does not fit is cut.
struct Text {
  char data[256] = "";
  size_t length = 0;

  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int added = std::vsnprintf(data + length, sizeof data - length, format, arguments);
    va_end(arguments);
    if (added > 0) length = std::min(sizeof data - 1, length + static_cast<size_t>(added));
  }
};

struct TypeRow {
  DType type;
  uint8_t code, bits;
  const char* name;
};
constexpr TypeRow kTypes[] = {
    {DType::F32, MHC_DTYPE_FLOAT, 32, "float32"},
    {DType::F16, MHC_DTYPE_FLOAT, 16, "float16"},
    {DType::BF16, MHC_DTYPE_BFLOAT, 16, "bfloat16"},
    {DType::E4M3, MHC_DTYPE_FLOAT8_E4M3FN, 8, "float8_e4m3fn"},
    {DType::E8M0, MHC_DTYPE_FLOAT8_E8M0FNU, 8, "float8_e8m0fnu"},
    {DType::I32, MHC_DTYPE_INT, 32, "int32"},
};

constexpr int64_t kMostElements = int64_t{1} << 56, kMostExtent = int64_t{1} << 40, kMostStride = int64_t{1} << 44;

bool find_type(mhc_dtype dtype, DType* type) {
  for (const TypeRow& row : kTypes) {
    if (row.code == dtype.code && row.bits == dtype.bits && dtype.lanes == 1) {
      *type = row.type;
      return true;
    }
  }
  return false;
}

Text names_of(Types types) {
  Text text;
  for (const TypeRow& row : kTypes) {
    if (static_cast<uint32_t>(types) >> static_cast<int>(row.type) & 1u) {
      text.add("%s%s", text.length ? " or " : "", row.name);
    }
  }
  return text;
}

Text text_of(int count, const int64_t* numbers) {
  Text text;
  text.add("[");
  for (int i = 0; i < count; ++i) text.add("%s%lld", i ? ", " : "", static_cast<long long>(numbers[i]));
  text.add("]");
  return text;
}

Text text_of(Shape shape) {
  Text text;
  text.add("[");
  for (const Extent& extent : shape) {
    const char* comma = text.length > 1 ? ", " : "";
    if (!extent.dim) {
      text.add("%s%lld", comma, static_cast<long long>(extent.value));
    } else if (extent.dim->value < 0) {
      text.add("%s%s", comma, extent.dim->name);
    } else {
      text.add("%s%s=%lld", comma, extent.dim->name, static_cast<long long>(extent.dim->value));
    }
  }
  text.add("]");
  return text;
}

int64_t element_count(const View& view) {
  int64_t count = 1;
  for (int i = 0; i < view.rank; ++i) count *= view.shape[i];
  return count;
}

using Range = Arguments::Range;

Range range_of(const View& view) {
  if (element_count(view) == 0) return {};
  intptr_t low = reinterpret_cast<intptr_t>(view.data), high = low;
  intptr_t size = static_cast<intptr_t>(size_of(view.type));
  for (int i = 0; i < view.rank; ++i) {
    intptr_t reach = static_cast<intptr_t>((view.shape[i] - 1) * view.stride[i]) * size;
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + size};
}

// Whether the last element is within kMostElements of the first.
bool reach_is_possible(const View& view) {
  int64_t reach = 0, step = 0;
  for (int i = 0; i < view.rank; ++i) {
    if (view.shape[i] < 2) continue;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.stride[i], &step) || step > kMostElements) return false;
    reach += step;
  }
  return reach <= kMostElements;
}

// Whether each dimension steps over all that those with smaller strides reach: then no two elements are one.
bool elements_apart(const View& view) {
  for (int i = 0; i < view.rank; ++i) {
    if (view.shape[i] < 2) continue;
    int64_t reach = 0;
    for (int j = 0; j < view.rank; ++j) {
      bool smaller = view.stride[j] < view.stride[i] || (view.stride[j] == view.stride[i] && j < i);
      if (smaller) reach += std::max<int64_t>(view.shape[j] - 1, 0) * view.stride[j];
    }
    if (view.stride[i] <= reach) return false;
  }
  return true;
}

// Two slices of the same rows, such as pre and post within one [T, m] buffer: same step from token to token, and
// disjoint within a step.
bool interleaved(const View& a, const View& b) {
  intptr_t step = static_cast<intptr_t>(a.stride[0]) * static_cast<intptr_t>(size_of(a.type));
  if (step <= 0 || step != static_cast<intptr_t>(b.stride[0]) * static_cast<intptr_t>(size_of(b.type))) return false;
  View row_a = a, row_b = b;
  row_a.shape[0] = row_b.shape[0] = 1;
  Range in_a = range_of(row_a), in_b = range_of(row_b);
  intptr_t offset = (in_b.first - in_a.first) % step;
  if (offset < 0) offset += step;
  return in_a.last - in_a.first <= offset && offset + (in_b.last - in_b.first) <= step;
}

// The view of a tensor, unchecked.
View view_of(const mhc_tensor& tensor, DType type) {
  View view;
  view.type = type;
  view.rank = tensor.ndim;
  view.data = tensor.data ? static_cast<char*>(tensor.data) + tensor.byte_offset : nullptr;
  int64_t compact = 1;
  const bool empty = std::any_of(tensor.shape, tensor.shape + view.rank, [](int64_t extent) { return extent == 0; });
  for (int i = view.rank - 1; i >= 0; --i) {
    view.shape[i] = tensor.shape[i];
    // Strides of an empty tensor are whatever its maker left there.
    view.stride[i] = tensor.strides && !empty ? tensor.strides[i] : compact;
    compact *= std::max<int64_t>(tensor.shape[i], 1);
  }
  return view;
}

bool identical(const View& a, const View& b) {
  if (a.data != b.data || a.type != b.type || a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.shape[i] != b.shape[i] || a.stride[i] != b.stride[i]) return false;
  }
  return true;
}

}  // namespace

const char* name_of(DType type) { return kTypes[static_cast<int>(type)].name; }
size_t size_of(DType type) { return kTypes[static_cast<int>(type)].bits / 8; }

void Arguments::fault(const char* format, ...) {
  if (!good()) return;
  char text[900];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  status_ = fail(MHC_INVALID_ARGUMENT, "%s: %s", function_, text);
}

void Arguments::adopt_fault(const Arguments& part, const char* format, ...) {
  char where[64], text[900];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(where, sizeof where, format, arguments);
  va_end(arguments);
  std::snprintf(text, sizeof text, "%s", last_sentence());
  status_ = fail(part.status_, "%s (%s)", text, where);
}

Arguments& Arguments::operator=(const Arguments& other) {
  function_ = other.function_;
  device_ = other.device_;
  shapes_only_ = other.shapes_only_;
  status_ = other.status_;
  count_ = other.count_;
  parts_ = other.parts_;
  std::uninitialized_copy(other.items_, other.items_ + other.count_, items_);
  return *this;
}

Arguments::Range Arguments::range_of(const mhc_tensor& tensor) const {
  DType type = DType::F32;
  find_type(tensor.dtype, &type);
  return shapes_only_ ? Range{} : mhc::range_of(view_of(tensor, type));
}

bool Arguments::share_memory(const mhc_tensor& one, const mhc_tensor& other) const {
  if (!range_of(one).meets(range_of(other))) return false;
  DType type = DType::F32, other_type = DType::F32;
  find_type(one.dtype, &type);
  find_type(other.dtype, &other_type);
  return !interleaved(view_of(one, type), view_of(other, other_type));
}

bool Arguments::block(const void* args, size_t expected_size, size_t earlier_size) {
  if (!good()) return false;
  if (!args) {
    fault("args is NULL; expected a pointer to its argument block");
    return false;
  }
  size_t size;
  std::memcpy(&size, args, sizeof size);
  if (size < expected_size && size != earlier_size) {
    fault("args.struct_size is %zu; expected %zu, the size of the block in this version of the header", size,
          expected_size);
  }
  return good();
}

void Arguments::stream(const void* stream) {
  if (device_.device_type == MHC_DEVICE_CPU && stream) {
    fault("stream is %p; expected NULL, a CPU context has no streams", stream);
  }
}

bool Arguments::check_shape(const char* name, const mhc_tensor& tensor, Shape shape) {
  int rank = static_cast<int>(shape.size());
  if (tensor.ndim != rank) {
    fault("%s.ndim is %d; expected %d, for shape %s", name, tensor.ndim, rank, text_of(shape).data);
    return false;
  }
  if (rank > 0 && !tensor.shape) {
    fault("%s.shape is NULL; expected %s", name, text_of(shape).data);
    return false;
  }
  int i = 0;
  for (const Extent& extent : shape) {
    int64_t expected = extent.dim ? extent.dim->value : extent.value;
    int64_t actual = tensor.shape[i++];
    if (actual > kMostExtent) {
      fault("%s.shape is %s; expected no dimension above 2^40", name, text_of(rank, tensor.shape).data);
      return false;
    }
    if (actual < 0 || (expected >= 0 && actual != expected)) {
      fault("%s.shape is %s; expected %s", name, text_of(rank, tensor.shape).data, text_of(shape).data);
      return false;
    }
  }
  int64_t elements = 1;
  for (i = 0; i < rank; ++i) {
    if (__builtin_mul_overflow(elements, std::max<int64_t>(tensor.shape[i], 1), &elements) || elements > kMostElements) {
      fault("%s.shape is %s; expected at most 2^56 elements", name, text_of(rank, tensor.shape).data);
      return false;
    }
  }
  i = 0;
  for (const Extent& extent : shape) {
    if (extent.dim) {
      int64_t actual = tensor.shape[i];
      if (extent.dim->value >= 0 && extent.dim->value != actual) {  // a dimension named twice in one shape
        fault("%s.shape is %s; expected %s", name, text_of(rank, tensor.shape).data, text_of(shape).data);
        return false;
      }
      extent.dim->value = actual;
    }
    ++i;
  }
  return true;
}

bool Arguments::check_strides(const char* name, const View& view, LastDim last, bool written) {
  int rank = view.rank;
  if (last == LastDim::Contiguous && rank > 0 && view.stride[rank - 1] != 1 && view.shape[rank - 1] > 1) {
    fault("%s.strides are %s; expected the last dimension contiguous, stride 1", name, text_of(rank, view.stride).data);
    return false;
  }
  for (int i = 0; i < rank; ++i) {
    if (view.stride[i] < 0 || view.stride[i] > kMostStride) {
      fault("%s.strides are %s; expected none %s", name, text_of(rank, view.stride).data,
            view.stride[i] < 0 ? "negative" : "above 2^44");
      return false;
    }
    if (written && view.stride[i] == 0 && view.shape[i] > 1) {
      fault("%s.strides are %s; expected no stride 0 in an output, its elements would share memory", name,
            text_of(rank, view.stride).data);
      return false;
    }
  }
  if (!reach_is_possible(view)) {
    fault("%s.strides are %s; expected that its %lld elements reach over at most 2^56", name, text_of(rank, view.stride).data,
          static_cast<long long>(element_count(view)));
    return false;
  }
  if (written && !elements_apart(view)) {
    fault("%s.strides are %s; expected an output's elements apart, each stride beyond what the smaller ones reach", name,
          text_of(rank, view.stride).data);
    return false;
  }
  return true;
}

View Arguments::read(const char* name, const mhc_tensor* tensor, Shape shape, Types types, Need need, LastDim last,
                     bool written) {
  View view;
  if (!good()) return view;
  if (!tensor) {
    if (need == Need::Required) fault("%s is NULL; expected a tensor %s", name, text_of(shape).data);
    return view;
  }
  if (tensor->device.device_type != device_.device_type || tensor->device.device_id != device_.device_id) {
    fault("%s.device is type %d, id %d; expected the context's, type %d, id %d", name, tensor->device.device_type,
          tensor->device.device_id, device_.device_type, device_.device_id);
    return view;
  }
  DType type;
  if (!find_type(tensor->dtype, &type) || !(static_cast<uint32_t>(types) >> static_cast<int>(type) & 1u)) {
    Text actual;
    if (find_type(tensor->dtype, &type)) {
      actual.add("%s", name_of(type));
    } else {
      actual.add("code %d, %d bits, %d lanes", tensor->dtype.code, tensor->dtype.bits, tensor->dtype.lanes);
    }
    fault("%s.dtype is %s; expected %s", name, actual.data, names_of(types).data);
    return view;
  }
  if (!check_shape(name, *tensor, shape)) return view;
  view = view_of(*tensor, type);
  if (!check_strides(name, view, last, written)) return View{};
  if (!shapes_only_ && element_count(view) > 0) {
    if (!tensor->data) {
      fault("%s.data is NULL; expected %lld elements", name, static_cast<long long>(element_count(view)));
      return View{};
    }
    if (reinterpret_cast<uintptr_t>(view.data) % size_of(type) != 0) {
      fault("%s.data is %p; expected it aligned to its element, %zu bytes", name, static_cast<void*>(view.data),
            size_of(type));
      return View{};
    }
  }
  view.given = true;
  keep(name, view, written, shape);
  return view;
}

void Arguments::keep(const char* name, const View& view, bool written, Shape shape) {
  bool tokens = false, width = false;
  for (const Extent& extent : shape) {
    tokens |= extent.dim && extent.dim->is_tokens;
    width |= extent.dim && extent.dim->is_width;
  }
  if (count_ == kMaxItems) {
    status_ = fail(MHC_INTERNAL, "%s: more than %d tensors", function_, kMaxItems);
    return;
  }
  new (&items_[count_++]) Item{name, view, shapes_only_ ? Range{} : mhc::range_of(view), written,
                               !tokens ? Traffic::Parameter : width ? Traffic::Row : Traffic::Coefficient};
}

void Arguments::same_type(const char* name, const View& view, const char* other_name, const View& other) {
  if (good() && view && other && view.type != other.type) {
    fault("%s.dtype is %s; expected %s, the type of %s", other_name, name_of(other.type), name_of(view.type), name);
  }
}

void Arguments::row_types(const char* streams_name, const View& streams, const char* layer_name, const View& layer) {
  if (good() && streams && layer && streams.type != layer.type && streams.type != DType::F32) {
    fault("%s.dtype is %s; expected %s, the type of %s (they may differ where the streams are float32)", layer_name,
          name_of(layer.type), name_of(streams.type), streams_name);
  }
}

void Arguments::absent(const char* name, const mhc_tensor* tensor, const char* why) {
  if (good() && tensor) fault("%s is %p; expected NULL, %s", name, static_cast<const void*>(tensor), why);
}

void Arguments::in_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (good() && (value < low || value > high)) {
    fault("%s is %lld; expected %lld to %lld", name, static_cast<long long>(value), static_cast<long long>(low),
          static_cast<long long>(high));
  }
}

void Arguments::number(const char* name, float value, float low, bool strict) {
  if (good() && (!std::isfinite(value) || value < low || (strict && value == low))) {
    fault("%s is %g; expected a finite number %s %g", name, static_cast<double>(value), strict ? "above" : "not below",
          static_cast<double>(low));
  }
}

void Arguments::no_overlap(const char* in_place_output, const char* in_place_input) {
  if (shapes_only_) return;
  for (int i = 0; i < count_ && good(); ++i) {
    if (!items_[i].written) continue;
    for (int j = 0; j < count_ && good(); ++j) {
      const Item &out = items_[i], &other = items_[j];
      if (!out.range.meets(other.range) || i == j || (other.written && j < i)) continue;
      if (interleaved(out.view, other.view)) continue;
      bool allowed = in_place_output && std::strcmp(out.name, in_place_output) == 0 &&
                     std::strcmp(other.name, in_place_input) == 0;
      if (allowed && identical(out.view, other.view)) continue;
      fault("%s overlaps %s in memory (%p, %p); expected %s", out.name, other.name,
            static_cast<void*>(out.view.data), static_cast<void*>(other.view.data),
            allowed ? "either no overlap or exactly the same tensor" : "no overlap");
    }
  }
}

}  // namespace mhc
