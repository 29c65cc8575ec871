// SPDX-License-Identifier: Apache-2.0
// What the library uses of cuBLAS, as libcublas.so.13: products of matrices whose addresses are in device memory. It refuses
// what cuBLAS documents that it refuses, and a capture without workspace of the caller's. Only for tests.
#include <algorithm>
#include <atomic>

#include "products.h"

using namespace nvidia;

namespace {

constexpr int kFullSums = 16;  // a math mode: sums are of the compute type to the end
constexpr size_t kWorkspace = 4 << 20;

struct Handle {
  void *stream = nullptr, *workspace = nullptr;
  int mode = 0;
};
std::atomic<int> handles = 0;

// Products that wait in a stream: their addresses are read when it gets there.
struct Batch {
  Run one;
  const void *const *a, *const *b;
  void* const* d;
  int64_t count;

  bool operator()() const {
    for (int64_t i = 0; i < count; ++i) {
      Run run = one;
      run.a = a[i], run.b = b[i], run.c = run.d = d[i];
      if (!lies_well(run.a, run.a_layout) || !lies_well(run.b, run.b_layout) || !lies_well(run.d, run.d_layout)) {
        Device::get().break_context(kIllegalAddress);
        return true;
      }
      run();
    }
    return true;
  }

 private:
  bool lies_well(const void* data, const Layout& layout) const {
    const bool exact = layout.type == kR32 && one.product.compute != kTf32;  // others go through matrix units
    return Device::get().is_there(data, extent_of(layout)) && reinterpret_cast<uintptr_t>(data) % (exact ? 4 : 16) == 0;
  }
};

}  // namespace

MHC_STAND_IN_API int cublasGetProperty(int type, int* value) { return *value = type == 0 ? 13 : 1, kOk; }
MHC_STAND_IN_API int cublasCreate_v2(void** handle) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (device.failure("cublasCreate")) return kNotInitialized;
  return *handle = new Handle, ++handles, kOk;
}
MHC_STAND_IN_API int cublasDestroy_v2(void* handle) { return delete static_cast<Handle*>(handle), --handles, kOk; }
// For tests: how many handles there are.
MHC_STAND_IN_API int mhc_stand_in_cublas_handles() { return handles; }

MHC_STAND_IN_API int cublasSetMathMode(void* handle, int mode) { return static_cast<Handle*>(handle)->mode = mode, kOk; }
MHC_STAND_IN_API int cublasSetStream_v2(void* handle, void* stream) {
  auto* own = static_cast<Handle*>(handle);
  own->stream = stream;
  own->workspace = nullptr;  // that of cuBLAS itself
  return kOk;
}
MHC_STAND_IN_API int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes) {
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0 || bytes < kWorkspace || !device.owns(workspace)) return kBadValue;
  if (!device.is_valid(workspace, bytes)) return kBadValue;
  return static_cast<Handle*>(handle)->workspace = workspace, kOk;
}

MHC_STAND_IN_API int cublasGemmBatchedEx_64(void* handle, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                                            const void* alpha, const void* const* a, int a_type, int64_t a_leading,
                                            const void* const* b, int b_type, int64_t b_leading, const void* beta,
                                            void* const* d, int d_type, int64_t d_leading, int64_t count, int compute,
                                            int algorithm) {
  const auto* own = static_cast<Handle*>(handle);
  Product product;
  product.compute = compute, product.transpose_a = transpose_a, product.transpose_b = transpose_b;
  const auto layout = [](int type, int64_t rows, int64_t columns, bool transposed, int64_t leading) {
    Layout made;
    made.type = type, made.leading = leading;
    made.rows = transposed ? columns : rows;
    made.columns = transposed ? rows : columns;
    return made;
  };
  const Layout al = layout(a_type, m, k, transpose_a, a_leading), bl = layout(b_type, k, n, transpose_b, b_leading),
               dl = layout(d_type, m, n, false, d_leading);
  if (a_type == kR8 || algorithm != -1) return kNotSupported;
  if (Status status = check(product, al, bl, dl, dl)) return status;
  if (count < 1) return kBadValue;
  Device& device = Device::get();
  std::unique_lock lock(device.mutex);
  const Stream* stream = device.stream(own->stream);
  if (!stream || (stream->capture && !own->workspace)) return kExecutionFailed;
  const size_t bytes = static_cast<size_t>(count) * sizeof(void*);
  for (const void* list : {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(d)})
    if (!device.owns(list) || !device.is_valid(list, bytes)) return kBadValue;
  if (device.failure("cublasGemmBatchedEx")) return kExecutionFailed;
  const Batch batch = {{product, al, bl, dl, dl, *static_cast<const float*>(alpha), *static_cast<const float*>(beta), nullptr, nullptr,
                        nullptr, nullptr, !(own->mode & kFullSums)}, a, b, d, count};
  return device.enqueue(own->stream, "batch", batch) ? kExecutionFailed : kOk;
}
