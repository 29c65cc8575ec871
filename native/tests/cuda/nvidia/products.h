// SPDX-License-Identifier: Apache-2.0
// A matrix product of the stand-ins for cuBLASLt and cuBLAS: computed element by element, as a real one stores and scales it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "numbers.h"
#include "queues.h"

namespace nvidia {

enum Status { kOk = 0, kNotInitialized = 1, kBadValue = 7, kExecutionFailed = 13, kNotSupported = 15 };

struct Layout {
  int type = 0;
  int64_t rows = 0, columns = 0, leading = 0, batch_stride = 0;
  int32_t batch = 1;
};

struct Product {  // a matmul descriptor
  int compute = 0, transpose_a = 0, transpose_b = 0, epilogue = 1, bias_type = -1, mode_a = 0, mode_b = 0;
  const void *bias = nullptr, *scale_a = nullptr, *scale_b = nullptr;
};

constexpr int kVec128 = 4, kBlock128 = 5, kBias = 4, kRelu = 2, kGelu = 32;
constexpr int kR32 = 0, kR16 = 2, kRB16 = 14, kR8 = 28;
constexpr int kTf32 = 77;

inline Type type_of(int type) {
  switch (type) {
    case kR16: return Type::fp16;
    case kRB16: return Type::bf16;
    case kR8: return Type::e4m3;
    default: return Type::fp32;
  }
}

inline int64_t tiles(int64_t extent) { return (extent + 127) / 128; }
inline int64_t up_to_four(int64_t extent) { return (extent + 3) / 4 * 4; }

// Of a matrix with k rows, stored column after column; row is along k.
inline double scale_of(int mode, const void* scales, int64_t k, int64_t columns, int64_t row, int64_t column) {
  if (!scales) return 1;
  switch (mode) {
    case kVec128: return load(Type::fp32, scales, row / 128 * up_to_four(columns) + column);
    case kBlock128: return load(Type::fp32, scales, column / 128 * up_to_four(tiles(k)) + row / 128);
    default: return load(Type::fp32, scales, 0);
  }
}

inline bool extents_agree(const Product& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const int64_t m = p.transpose_a ? a.columns : a.rows, n = p.transpose_b ? b.rows : b.columns;
  const int64_t k = p.transpose_a ? a.rows : a.columns, bk = p.transpose_b ? b.columns : b.rows;
  return m > 0 && n > 0 && k > 0 && k == bk && d.rows == m && d.columns == n && c.rows == m && c.columns == n &&
         a.leading >= a.rows && b.leading >= b.rows && c.leading >= c.rows && d.leading >= d.rows;
}

inline Status check(const Product& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  if (!extents_agree(p, a, b, c, d)) return kBadValue;
  if (a.batch != b.batch || a.batch != d.batch || c.batch != d.batch) return kBadValue;
  if (p.compute == kTf32 && a.type != kR32) return kNotSupported;  // TF32 is of float32
  if (a.type != kR8) return a.type == b.type && c.type == d.type && (d.type == a.type || d.type == kR32) ? kOk : kNotSupported;
  if (Device::capability() < 89 || (p.mode_a != 0 && Device::capability() != 90)) return kNotSupported;
  // FP8: both operands with k contiguous, extents and rows that are multiples of 16 bytes, and few biases.
  if (!p.transpose_a || p.transpose_b || p.compute != 68) return kNotSupported;
  for (int64_t extent : {a.rows, a.columns, a.leading, b.leading}) {
    if (extent % 16 != 0) return kNotSupported;
  }
  if ((p.mode_a == 0) != (p.mode_b == 0)) return kNotSupported;
  if (p.mode_a != 0 && (p.mode_a == kBlock128 && p.mode_b == kBlock128)) return kNotSupported;
  if ((p.epilogue & kBias) && d.type == kR32) return kNotSupported;
  return kOk;
}

// To the 11 significant bits of TF32, to nearest.
inline double to_tf32(double value) {
  int exponent;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11);
}

inline double activate(int epilogue, double value) {
  if (epilogue & kRelu) return value > 0 || std::isnan(value) ? value : 0;
  if (epilogue & kGelu) {
    return 0.5 * value * (1 + std::tanh(std::sqrt(2 / M_PI) * (value + 0.044715 * value * value * value)));
  }
  return value;
}

// A product that waits in a stream.
struct Run {
  Product product;
  Layout a_layout, b_layout, c_layout, d_layout;
  float alpha, beta;
  const void *a, *b, *c;
  void* d;
  bool in_halves;  // sums of halves of k may meet in the type of the result, as in kernels that split k

  void operator()() const {
    const int64_t k = product.transpose_a ? a_layout.rows : a_layout.columns;
    if (in_halves && k > 1 && beta == 0 && a_layout.type != kR8 && product.epilogue == 1) {
      part(0, k / 2)();
      Run rest = part(k / 2, k - k / 2);
      rest.beta = 1;
      return rest();
    }
    const bool tf32 = product.compute == kTf32 && std::getenv("MHC_STAND_IN_TF32");  // exact unless a test wants to see it
    for (int64_t i = 0; i < d_layout.batch; ++i) {
      const std::vector<double> left = rows(a_layout, a, i, !product.transpose_a, product.mode_a, product.scale_a, tf32);
      const std::vector<double> right = rows(b_layout, b, i, product.transpose_b, product.mode_b, product.scale_b, tf32);
      for (int64_t column = 0; column < d_layout.columns; ++column)
        for (int64_t row = 0; row < d_layout.rows; ++row) finish(i, row, column, dot(&left[row * k], &right[column * k], k));
    }
  }

 private:
  // Of the sums over k, count from first on.
  Run part(int64_t first, int64_t count) const {
    Run run = *this;
    run.in_halves = false;
    const auto cut = [&](Layout& layout, const void*& data, bool along_columns) {
      const auto skipped = static_cast<int64_t>(bytes_of(type_of(layout.type))) * first * (along_columns ? layout.leading : 1);
      data = static_cast<const char*>(data) + skipped;
      (along_columns ? layout.columns : layout.rows) = count;
    };
    cut(run.a_layout, run.a, !run.product.transpose_a);
    cut(run.b_layout, run.b, run.product.transpose_b);
    return run;
  }

  static double dot(const double* left, const double* right, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += left[i] * right[i];
    return sum;
  }

  // The operand's vectors along k, one behind the other.
  static std::vector<double> rows(const Layout& layout, const void* data, int64_t batch, bool across, int mode, const void* scales,
                                  bool tf32) {
    const int64_t k = across ? layout.columns : layout.rows, vectors = across ? layout.rows : layout.columns;
    std::vector<double> out(k * vectors);
    for (int64_t v = 0; v < vectors; ++v)
      for (int64_t i = 0; i < k; ++i) {
        const int64_t at = batch * layout.batch_stride + (across ? i * layout.leading + v : v * layout.leading + i);
        const double value = load(type_of(layout.type), data, at) * scale_of(mode, scales, k, vectors, i, v);
        out[v * k + i] = tf32 ? to_tf32(value) : value;
      }
    return out;
  }

  void finish(int64_t batch, int64_t row, int64_t column, double sum) const {
    double value = alpha * sum;
    if (beta != 0) value += beta * load(type_of(c_layout.type), c, batch * c_layout.batch_stride + column * c_layout.leading + row);
    if (product.epilogue & kBias) {
      value += load(type_of(product.bias_type < 0 ? d_layout.type : product.bias_type), product.bias, row);
    }
    store(type_of(d_layout.type), d, batch * d_layout.batch_stride + column * d_layout.leading + row,
          activate(product.epilogue, value));
  }
};

// From the first element to the last, in bytes.
inline size_t extent_of(const Layout& layout) {
  const int64_t last = (layout.batch - 1) * layout.batch_stride + (layout.columns - 1) * layout.leading + layout.rows;
  return static_cast<size_t>(last) * bytes_of(type_of(layout.type));
}

}  // namespace nvidia
