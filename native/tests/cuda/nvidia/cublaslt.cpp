// SPDX-License-Identifier: Apache-2.0
// What the library uses of cuBLASLt, as libcublasLt.so.13: products computed element by element, as a real one stores and
// scales them. It refuses what cuBLASLt documents that it refuses. Only for tests.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "numbers.h"
#include "queues.h"

using namespace nvidia;

namespace {

enum Status { kOk = 0, kBadValue = 7, kExecutionFailed = 13, kNotSupported = 15 };

struct Layout {
  int type = 0;
  int64_t rows = 0, columns = 0, leading = 0, batch_stride = 0;
  int32_t batch = 1;
};

struct Product {  // a matmul descriptor
  int compute = 0, transpose_a = 0, transpose_b = 0, epilogue = 1, bias_type = -1, mode_a = 0, mode_b = 0;
  const void *bias = nullptr, *scale_a = nullptr, *scale_b = nullptr;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

constexpr int kVec128 = 4, kBlock128 = 5, kBias = 4, kRelu = 2, kGelu = 32;
constexpr int kR32 = 0, kR16 = 2, kRB16 = 14, kR8 = 28;
constexpr int kTf32 = 77;
constexpr size_t kWorkspace = 4096;
constexpr uint64_t kMagic = 0x6d68632d616c676f;

Type type_of(int type) {
  switch (type) {
    case kR16: return Type::fp16;
    case kRB16: return Type::bf16;
    case kR8: return Type::e4m3;
    default: return Type::fp32;
  }
}

int64_t tiles(int64_t extent) { return (extent + 127) / 128; }
int64_t up_to_four(int64_t extent) { return (extent + 3) / 4 * 4; }

// Of a matrix with k rows, stored column after column; row is along k.
double scale_of(int mode, const void* scales, int64_t k, int64_t columns, int64_t row, int64_t column) {
  if (!scales) return 1;
  switch (mode) {
    case kVec128: return load(Type::fp32, scales, row / 128 * up_to_four(columns) + column);
    case kBlock128: return load(Type::fp32, scales, column / 128 * up_to_four(tiles(k)) + row / 128);
    default: return load(Type::fp32, scales, 0);
  }
}

bool extents_agree(const Product& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const int64_t m = p.transpose_a ? a.columns : a.rows, n = p.transpose_b ? b.rows : b.columns;
  const int64_t k = p.transpose_a ? a.rows : a.columns, bk = p.transpose_b ? b.columns : b.rows;
  return m > 0 && n > 0 && k > 0 && k == bk && d.rows == m && d.columns == n && c.rows == m && c.columns == n &&
         a.leading >= a.rows && b.leading >= b.rows && c.leading >= c.rows && d.leading >= d.rows;
}

Status check(const Product& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
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
double to_tf32(double value) {
  int exponent;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11);
}

double activate(int epilogue, double value) {
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

  void operator()() const {
    const int64_t k = product.transpose_a ? a_layout.rows : a_layout.columns;
    const bool tf32 = product.compute == kTf32 && std::getenv("MHC_STAND_IN_TF32");  // exact unless a test wants to see it
    for (int64_t i = 0; i < d_layout.batch; ++i) {
      const std::vector<double> left = rows(a_layout, a, i, !product.transpose_a, product.mode_a, product.scale_a, tf32);
      const std::vector<double> right = rows(b_layout, b, i, product.transpose_b, product.mode_b, product.scale_b, tf32);
      for (int64_t column = 0; column < d_layout.columns; ++column)
        for (int64_t row = 0; row < d_layout.rows; ++row) finish(i, row, column, dot(&left[row * k], &right[column * k], k));
    }
  }

 private:
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

// An algorithm is for the product that it was found for.
uint64_t fingerprint(const Product& p, const Layout& a, const Layout& b, const Layout& d) {
  uint64_t hash = 1469598103934665603u;
  for (int64_t part : {int64_t{p.compute}, int64_t{p.transpose_a}, int64_t{p.transpose_b}, int64_t{p.epilogue}, int64_t{p.mode_a},
                       int64_t{p.mode_b}, int64_t{a.type}, a.rows, a.columns, a.leading, int64_t{b.type}, b.rows, b.columns,
                       b.leading, int64_t{d.type}, d.leading, int64_t{d.batch}})
    hash = (hash ^ static_cast<uint64_t>(part)) * 1099511628211u;
  return hash;
}

struct Algorithm {
  uint64_t magic, fingerprint, alignment, unused[5];
};
struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

template <class T>
Status set(T* to, const void* from, size_t bytes) {
  if (bytes != sizeof *to) return kBadValue;
  std::memcpy(to, from, bytes);
  return kOk;
}

// 13.1.1, unless MHC_STAND_IN_CUBLASLT says another, such as 120804.
size_t version() {
  const char* wanted = std::getenv("MHC_STAND_IN_CUBLASLT");
  return wanted ? static_cast<size_t>(std::atoi(wanted)) : 130101;
}

// Modes came with 12.8, those of whole rows and tiles, from 3 on, with 12.9.
Status set_mode(int* to, const void* from, size_t bytes) {
  int mode = 0;
  const Status status = version() < 120800 ? kBadValue : set(&mode, from, bytes);
  if (status != kOk || (mode >= 3 && version() < 120900)) return kBadValue;
  *to = mode;
  return kOk;
}

bool valid(const void* data, const Layout& layout) {
  const int64_t last = (layout.batch - 1) * layout.batch_stride + (layout.columns - 1) * layout.leading + layout.rows;
  return Device::get().is_valid(data, static_cast<size_t>(last) * bytes_of(type_of(layout.type)));
}

struct Text {
  int code;
  const char* name;
};
constexpr Text kTexts[] = {{0, "CUBLAS_STATUS_SUCCESS"},         {1, "CUBLAS_STATUS_NOT_INITIALIZED"},
                           {3, "CUBLAS_STATUS_ALLOC_FAILED"},    {7, "CUBLAS_STATUS_INVALID_VALUE"},
                           {8, "CUBLAS_STATUS_ARCH_MISMATCH"},   {13, "CUBLAS_STATUS_EXECUTION_FAILED"},
                           {14, "CUBLAS_STATUS_INTERNAL_ERROR"}, {15, "CUBLAS_STATUS_NOT_SUPPORTED"}};

}  // namespace

MHC_STAND_IN_API size_t cublasLtGetVersion() { return version(); }
MHC_STAND_IN_API size_t cublasLtGetCudartVersion() { return 13000; }
MHC_STAND_IN_API int cublasLtGetProperty(int type, int* value) { return *value = type == 0 ? 13 : 1, kOk; }
MHC_STAND_IN_API const char* cublasLtGetStatusName(int code) {
  for (const Text& each : kTexts)
    if (each.code == code) return each.name;
  return "CUBLAS_STATUS_UNKNOWN";
}
MHC_STAND_IN_API const char* cublasLtGetStatusString(int code) { return cublasLtGetStatusName(code); }

MHC_STAND_IN_API int cublasLtCreate(void** handle) { return *handle = new int(0), kOk; }
MHC_STAND_IN_API int cublasLtDestroy(void* handle) { return delete static_cast<int*>(handle), kOk; }

MHC_STAND_IN_API int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  auto* made = new Layout;
  made->type = type;
  made->rows = static_cast<int64_t>(rows);
  made->columns = static_cast<int64_t>(columns);
  made->leading = leading;
  return *layout = made, kOk;
}
MHC_STAND_IN_API int cublasLtMatrixLayoutDestroy(void* layout) { return delete static_cast<Layout*>(layout), kOk; }
MHC_STAND_IN_API int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  auto* layout = static_cast<Layout*>(handle);
  switch (attribute) {
    case 5: return set(&layout->batch, value, bytes);
    case 6: return set(&layout->batch_stride, value, bytes);
    default: return kBadValue;
  }
}

MHC_STAND_IN_API int cublasLtMatmulDescCreate(void** product, int compute, int) {
  auto* made = new Product;
  made->compute = compute;
  return *product = made, kOk;
}
MHC_STAND_IN_API int cublasLtMatmulDescDestroy(void* product) { return delete static_cast<Product*>(product), kOk; }
MHC_STAND_IN_API int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  auto* product = static_cast<Product*>(handle);
  switch (attribute) {
    case 3: return set(&product->transpose_a, value, bytes);
    case 4: return set(&product->transpose_b, value, bytes);
    case 7: return set(&product->epilogue, value, bytes);
    case 8: return set(&product->bias, value, bytes);
    case 17: return set(&product->scale_a, value, bytes);
    case 18: return set(&product->scale_b, value, bytes);
    case 26: return set(&product->bias_type, value, bytes);
    case 31: return set_mode(&product->mode_a, value, bytes);
    case 32: return set_mode(&product->mode_b, value, bytes);
    default: return kBadValue;
  }
}

MHC_STAND_IN_API int cublasLtMatmulPreferenceCreate(void** preference) { return *preference = new Preference, kOk; }
MHC_STAND_IN_API int cublasLtMatmulPreferenceDestroy(void* preference) { return delete static_cast<Preference*>(preference), kOk; }
MHC_STAND_IN_API int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  auto* preference = static_cast<Preference*>(handle);
  if (attribute == 1) return set(&preference->workspace, value, bytes);
  if (attribute >= 5 && attribute <= 8) return set(&preference->alignment[attribute - 5], value, bytes);
  return kBadValue;
}

MHC_STAND_IN_API int cublasLtMatmulAlgoGetHeuristic(void*, void* product, void* a, void* b, void* c, void* d, void* preference,
                                                    int wanted, HeuristicResult* results, int* found) {
  *found = 0;
  const auto& p = *static_cast<Product*>(product);
  const auto &al = *static_cast<Layout*>(a), &bl = *static_cast<Layout*>(b), &dl = *static_cast<Layout*>(d);
  if (Status status = check(p, al, bl, *static_cast<Layout*>(c), dl)) return status;
  const auto& wishes = *static_cast<Preference*>(preference);
  if (wanted < 1 || wishes.workspace < kWorkspace) return kNotSupported;
  const uint64_t alignment = *std::min_element(wishes.alignment, wishes.alignment + 4);
  results[0] = {{kMagic, fingerprint(p, al, bl, dl), alignment, {}}, kWorkspace, kOk, 1, {}};
  *found = 1;
  return kOk;
}

MHC_STAND_IN_API int cublasLtMatmul(void*, void* product, const void* alpha, const void* a, void* a_layout, const void* b,
                                    void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                                    const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
  const Run run = {*static_cast<Product*>(product), *static_cast<Layout*>(a_layout), *static_cast<Layout*>(b_layout),
                   *static_cast<Layout*>(c_layout), *static_cast<Layout*>(d_layout), *static_cast<const float*>(alpha),
                   *static_cast<const float*>(beta), a, b, c, d};
  if (Status status = check(run.product, run.a_layout, run.b_layout, run.c_layout, run.d_layout)) return status;
  if (algorithm->magic != kMagic || algorithm->fingerprint != fingerprint(run.product, run.a_layout, run.b_layout, run.d_layout)) {
    return kNotSupported;
  }
  for (const void* pointer : {a, b, c, static_cast<const void*>(d)})
    if (reinterpret_cast<uintptr_t>(pointer) % algorithm->alignment != 0) return kBadValue;
  if ((run.product.epilogue & kBias) && !run.product.bias) return kBadValue;
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (workspace_bytes < kWorkspace || !device.is_valid(workspace, workspace_bytes)) return kBadValue;
  if (!valid(a, run.a_layout) || !valid(b, run.b_layout) || !valid(d, run.d_layout)) return kBadValue;
  if (device.failure("cublasLtMatmul")) return kExecutionFailed;
  return device.enqueue(stream, "matmul", [run] { return run(), true; }) ? kExecutionFailed : kOk;
}
