// SPDX-License-Identifier: Apache-2.0
// What the library uses of cuBLASLt, as libcublasLt.so.13: products computed element by element, as a real one stores and
// scales them. It refuses what cuBLASLt documents that it refuses. Only for tests.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "products.h"

using namespace nvidia;

namespace {

struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = 7;  // all of the ways in which parts of a sum may meet
  uint32_t alignment[4] = {256, 256, 256, 256};
};

constexpr uint32_t kOfComputeType = 2;
constexpr size_t kWorkspace = 4096;
constexpr uint64_t kMagic = 0x6d68632d616c676f;

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
  uint64_t magic, fingerprint, alignment, in_halves, unused[4];
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
  if (attribute == 3) return set(&preference->reductions, value, bytes);
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
  results[0] = {{kMagic, fingerprint(p, al, bl, dl), alignment, (wishes.reductions & ~kOfComputeType) != 0, {}}, kWorkspace, kOk, 1, {}};
  *found = 1;
  return kOk;
}

MHC_STAND_IN_API int cublasLtMatmul(void*, void* product, const void* alpha, const void* a, void* a_layout, const void* b,
                                    void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                                    const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
  const Run run = {*static_cast<Product*>(product), *static_cast<Layout*>(a_layout), *static_cast<Layout*>(b_layout),
                   *static_cast<Layout*>(c_layout), *static_cast<Layout*>(d_layout), *static_cast<const float*>(alpha),
                   *static_cast<const float*>(beta), a, b, c, d, algorithm->in_halves != 0};
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
  if (!device.is_valid(a, extent_of(run.a_layout)) || !device.is_valid(b, extent_of(run.b_layout)) ||
      !device.is_valid(d, extent_of(run.d_layout))) {
    return kBadValue;
  }
  if (device.failure("cublasLtMatmul")) return kExecutionFailed;
  return device.enqueue(stream, "matmul", [run] { return run(), true; }) ? kExecutionFailed : kOk;
}
