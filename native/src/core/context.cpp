// SPDX-License-Identifier: Apache-2.0
// mhc_context: one backend, one call at a time.
#include <cstddef>
#include <cstring>
#include <mutex>
#include <new>

#include "core/backend.h"
#include "core/config.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/plugin.h"
#include "core/read_arguments.h"
#include "cpu/tiers.h"

struct mhc_context {
  mhc_device device;
  std::unique_ptr<mhc::Backend> backend;
  std::mutex mutex;
};

namespace mhc {
namespace {

// Bytes of a block in the first headers, which had no f_scale.
template <class Args>
constexpr size_t first_size() {
  if constexpr (requires(Args a) { a.f_scale; }) {
    return offsetof(Args, f_scale);
  } else {
    return sizeof(Args);
  }
}

// Checks a caller's block and hands it to the backend; with bytes it only asks for the workspace.
template <class Problem, class Args>
mhc_status call(mhc_operation operation, const char* name, mhc_context* context, const Args* args, size_t* bytes) {
  if (!context) return fail(MHC_INVALID_ARGUMENT, "%s: context is NULL; expected one from mhc_context_create", name);
  Arguments arguments(name, context->device, bytes != nullptr);
  Problem problem{};
  Args whole;
  if (arguments.block(args, sizeof(Args), first_size<Args>())) {
    if (args->struct_size < sizeof(Args)) {
      whole = {};
      std::memcpy(static_cast<void*>(&whole), args, first_size<Args>());
      args = &whole;
    }
    arguments.stream(args->stream);
    read_arguments(arguments, *args, &problem);
  }
  if (!arguments.good()) return arguments.status();
  std::lock_guard<std::mutex> lock(context->mutex);
  if (bytes) {
    *bytes = context->backend->workspace(operation, &problem);
    return MHC_OK;
  }
  return context->backend->run(operation, &problem, arguments, args->stream);
}

}  // namespace
}  // namespace mhc

#define MHC_ENTRY(name, NAME, Type)                                                                        \
  mhc_status mhc_##name(mhc_context* context, const mhc_##name##_args* args) {                                \
    return mhc::call<mhc::Type##Problem>(MHC_OP_##NAME, "mhc_" #name, context, args, nullptr);             \
  }
MHC_OPERATIONS(MHC_ENTRY)
#undef MHC_ENTRY

mhc_status mhc_workspace_size(mhc_context* context, int32_t operation, const void* args, size_t* bytes) {
  using namespace mhc;
  if (!bytes) return fail(MHC_INVALID_ARGUMENT, "mhc_workspace_size: bytes is NULL; expected a place for the result");
  switch (operation) {
#define MHC_CASE(name, NAME, Type)                                                                              \
  case MHC_OP_##NAME:                                                                                              \
    return call<Type##Problem>(MHC_OP_##NAME, "mhc_" #name, context, static_cast<const mhc_##name##_args*>(args), \
                                  bytes);
    MHC_OPERATIONS(MHC_CASE)
#undef MHC_CASE
  }
  return fail(MHC_INVALID_ARGUMENT, "mhc_workspace_size: operation is %d; expected an mhc_operation, 0 to %d", operation,
              MHC_OP_RECOMPUTE);
}

mhc_status mhc_context_create(const mhc_context_options* options, mhc_context** context) {
  using namespace mhc;
  constexpr const char* kName = "mhc_context_create";
  if (!context) return fail(MHC_INVALID_ARGUMENT, "%s: context is NULL; expected a place for the result", kName);
  mhc_context_options chosen = {};
  if (options) {
    if (options->struct_size < sizeof chosen) {
      return fail(MHC_INVALID_ARGUMENT, "%s: options.struct_size is %zu; expected %zu", kName, options->struct_size,
                  sizeof chosen);
    }
    chosen = *options;
  }
  if (chosen.device.device_type == 0) chosen.device = {MHC_DEVICE_CPU, 0};
  const bool cuda = chosen.device.device_type == MHC_DEVICE_CUDA;
  if (!cuda && chosen.device.device_type != MHC_DEVICE_CPU) {
    return fail(MHC_UNSUPPORTED, "%s: options.device.device_type is %d; expected %d (CPU) or %d (CUDA)", kName,
                chosen.device.device_type, MHC_DEVICE_CPU, MHC_DEVICE_CUDA);
  }
  if (!cuda && chosen.device.device_id != 0) {
    return fail(MHC_INVALID_ARGUMENT, "%s: options.device.device_id is %d; expected 0, there is one CPU device", kName,
                chosen.device.device_id);
  }
  if (chosen.threads < 0 || chosen.threads > 1024) {
    return fail(MHC_INVALID_ARGUMENT, "%s: options.threads is %d; expected 0 (all) to 1024", kName, chosen.threads);
  }
  if (chosen.cpu_tier < 0 || chosen.cpu_tier > MHC_CPU_TIER_COUNTING) {
    return fail(MHC_INVALID_ARGUMENT, "%s: options.cpu_tier is %d; expected an mhc_cpu_tier, 0 to %d", kName, chosen.cpu_tier,
                MHC_CPU_TIER_COUNTING);
  }
  std::unique_ptr<mhc_context> made(new (std::nothrow) mhc_context{chosen.device, nullptr, {}});
  if (!made) return fail(MHC_OUT_OF_MEMORY, "%s: no memory for a context", kName);
  mhc_status status = cuda ? create_cuda_backend(chosen, &made->backend) : create_cpu_backend(chosen, &made->backend);
  if (status != MHC_OK) return status;
  count_live_bytes(sizeof(mhc_context));
  *context = made.release();
  return MHC_OK;
}

mhc_status mhc_context_destroy(mhc_context* context) {
  if (!context) return MHC_OK;
  delete context;
  mhc::count_live_bytes(-static_cast<long long>(sizeof(mhc_context)));
  return MHC_OK;
}

mhc_status mhc_context_get_info(mhc_context* context, mhc_context_info* info) {
  using namespace mhc;
  constexpr const char* kName = "mhc_context_get_info";
  if (!context) return fail(MHC_INVALID_ARGUMENT, "%s: context is NULL; expected one from mhc_context_create", kName);
  if (!info) return fail(MHC_INVALID_ARGUMENT, "%s: info is NULL; expected a place for the result", kName);
  if (info->struct_size < sizeof *info) {
    return fail(MHC_INVALID_ARGUMENT, "%s: info.struct_size is %zu; expected %zu", kName, info->struct_size,
                sizeof *info);
  }
  std::lock_guard<std::mutex> lock(context->mutex);
  context->backend->info(info);
  return MHC_OK;
}

mhc_status mhc_context_reserve(mhc_context* context, size_t bytes) {
  using namespace mhc;
  if (!context) {
    return fail(MHC_INVALID_ARGUMENT, "mhc_context_reserve: context is NULL; expected one from mhc_context_create");
  }
  std::lock_guard<std::mutex> lock(context->mutex);
  return context->backend->reserve(bytes);
}

mhc_status mhc_context_get_traffic(mhc_context* context, mhc_traffic* traffic) {
  using namespace mhc;
  constexpr const char* kName = "mhc_context_get_traffic";
  if (!context) return fail(MHC_INVALID_ARGUMENT, "%s: context is NULL; expected one from mhc_context_create", kName);
  if (!traffic) return fail(MHC_INVALID_ARGUMENT, "%s: traffic is NULL; expected a place for the result", kName);
  if (traffic->struct_size < sizeof *traffic) {
    return fail(MHC_INVALID_ARGUMENT, "%s: traffic.struct_size is %zu; expected %zu", kName, traffic->struct_size,
                sizeof *traffic);
  }
  std::lock_guard<std::mutex> lock(context->mutex);
  return context->backend->traffic(traffic);
}

int32_t mhc_device_count(int32_t device_type) {
  if (device_type == MHC_DEVICE_CPU) return 1;
  if (device_type != MHC_DEVICE_CUDA) return 0;
  const mhc::Plugin* plugin = mhc::cuda_plugin(nullptr);
  return plugin ? plugin->device_count() : 0;
}

#define MHC_TEXT_(x) #x
#define MHC_TEXT(x) MHC_TEXT_(x)
const char* mhc_version(void) {
  return MHC_TEXT(MHC_VERSION_MAJOR) "." MHC_TEXT(MHC_VERSION_MINOR) "." MHC_TEXT(MHC_VERSION_PATCH);
}
int32_t mhc_abi_version(void) { return MHC_ABI_VERSION; }
