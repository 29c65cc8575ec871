// SPDX-License-Identifier: Apache-2.0
// The CUDA backend: a device, its workspace, and the table of operations; and what libmhc sees of this library.
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "core/error.h"
#include "core/plugin.h"
#include "cuda/driver.h"
#include "cuda/kernels.h"

namespace mhc {
namespace {

PluginHost host = {};

}  // namespace

// core/error.h for this library: the sentence is kept in libmhc.
mhc_status fail(mhc_status status, const char* format, ...) {
  char sentence[1024];
  va_list values;
  va_start(values, format);
  std::vsnprintf(sentence, sizeof sentence, format, values);
  va_end(values);
  return host.fail(status, sentence);
}

const char* last_sentence() { return host.last_sentence(); }

}  // namespace mhc

namespace mhc::cuda {
namespace {

template <class Problem, size_t (*space)(const Problem&, const DeviceProperties&), void (*run)(const Problem&, Job&)>
constexpr Kernel kernel() {
  return {[](const void* problem, const DeviceProperties& device) { return space(*static_cast<const Problem*>(problem), device); },
          [](const void* problem, Job& job) { run(*static_cast<const Problem*>(problem), job); }};
}

struct Table {
  Kernel rows[MHC_OP_RECOMPUTE + 1] = {};
  constexpr Table() {
#define MHC_ROW(name, NAME, Type) rows[MHC_OP_##NAME] = kernel<Type##Problem, name##_space, name>();
    MHC_OPERATIONS(MHC_ROW)
#undef MHC_ROW
  }
};
constexpr Table kTable;

// Device memory of a context, counted while it lives. What it has outgrown stays until the context ends: giving memory back
// waits for everything on the device, where a rank may wait for this one, and a captured graph may still use it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() {
    for (char* block : blocks_) release(block);
    host.count_live_bytes(-static_cast<long long>(live_));
  }

  const char* grow(size_t bytes) {
    if (bytes <= size_) return nullptr;
    blocks_.reserve(blocks_.size() + 1);
    char* block = nullptr;
    if (const char* error = allocate(bytes, &block)) return error;
    blocks_.push_back(block);
    size_ = bytes;
    live_ += bytes;
    host.count_live_bytes(static_cast<long long>(bytes));
    return nullptr;
  }
  char* data() const { return blocks_.empty() ? nullptr : blocks_.back(); }
  size_t size() const { return size_; }

 private:
  std::vector<char*> blocks_;  // the last one is in use
  size_t size_ = 0, live_ = 0;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, const DeviceProperties& properties) : device_(device), properties_(properties) {
    host.count_live_bytes(sizeof *this);
  }
  ~CudaBackend() override { host.count_live_bytes(-static_cast<long long>(sizeof *this)); }

  mhc_status start(const char* function, size_t workspace) {
    OnDevice current(device_);
    const char* error = current.error() ? current.error() : counters_.grow(kCounters * sizeof(uint32_t));
    return error ? device_error(function, error) : reserve(function, "options.workspace", workspace);
  }

  size_t workspace(mhc_operation operation, const void* problem) override {
    const Kernel& kernel = kTable.rows[operation];
    return kernel.space(problem, properties_);
  }

  mhc_status run(mhc_operation operation, const void* problem, const Arguments& arguments, void* stream) override {
    const Kernel& kernel = kTable.rows[operation];
    size_t wanted = kernel.space(problem, properties_);
    if (wanted > memory_.size()) {
      return fail(MHC_WORKSPACE_TOO_SMALL,
                  "%s: the workspace has %zu bytes; expected %zu, call mhc_context_reserve(context, %zu) first",
                  arguments.function(), memory_.size(), wanted, wanted);
    }
    OnDevice current(device_);
    if (current.error()) return device_error(arguments.function(), current.error());
    Job job{stream, properties_, memory_.data(), reinterpret_cast<uint32_t*>(counters_.data())};
    if (properties_.counts_traffic) start_count(arguments);
    kernel.run(problem, job);
    if (properties_.counts_traffic) stop_count(wanted, &traffic_);
    return job.error ? device_error(arguments.function(), job.error) : MHC_OK;
  }

  mhc_status reserve(size_t bytes) override { return reserve("mhc_context_reserve", "bytes", bytes); }

  void info(mhc_context_info* info) override {
    info->device = {MHC_DEVICE_CUDA, device_};
    info->threads = 0;
    info->cpu_tier = 0;
    info->workspace = memory_.size();
    std::snprintf(info->name, sizeof info->name, "%s", properties_.name);
  }

  mhc_status traffic(mhc_traffic* traffic) override {
    if (!properties_.counts_traffic) {
      return fail(MHC_UNSUPPORTED,
                  "mhc_context_get_traffic: the context is of CUDA device %d; only a CPU context of MHC_CPU_TIER_COUNTING counts",
                  device_);
    }
    *traffic = traffic_;
    traffic->struct_size = sizeof *traffic;
    return MHC_OK;
  }

 private:
  mhc_status reserve(const char* function, const char* argument, size_t bytes) {
    OnDevice current(device_);
    if (current.error()) return device_error(function, current.error());
    const char* error = memory_.grow(bytes);
    if (!error) return MHC_OK;
    return fail(MHC_OUT_OF_MEMORY, "%s: %s is %zu; CUDA device %d (%s) said: %s", function, argument, bytes, device_,
                properties_.name, error);
  }

  mhc_status device_error(const char* function, const char* error) {
    return fail(MHC_DEVICE_ERROR,
                "%s: CUDA device %d (%s) said: %s. If it says so for every call, an earlier kernel has broken the "
                "process's CUDA context, and only a new process gets another",
                function, device_, properties_.name, error);
  }

  const int device_;
  const DeviceProperties properties_;
  DeviceMemory memory_, counters_;
  mhc_traffic traffic_ = {};
};

int32_t count_devices() {
  int count = 0;
  return device_count(&count) ? 0 : count;
}

// Why there is no device, and what helps.
mhc_status no_device(const char* function, int device, const char* error) {
  const DriverVersions driver = driver_versions();
  if (!error) error = "it has none";
  const int major = driver.needed / 1000, minor = driver.needed % 1000 / 10;
  if (driver.installed == 0) {
    return fail(MHC_UNSUPPORTED,
                "%s: options.device asks for CUDA device %d; there is no NVIDIA driver (%s). Install one for CUDA %d.%d or "
                "later, and let a container see it",
                function, device, error, major, minor);
  }
  if (driver.installed < driver.needed) {
    return fail(MHC_UNSUPPORTED,
                "%s: options.device asks for CUDA device %d; the NVIDIA driver is too old, for CUDA %d.%d (%s). Expected one for "
                "CUDA %d.%d or later: update the driver",
                function, device, driver.installed / 1000, driver.installed % 1000 / 10, error, major, minor);
  }
  return fail(MHC_UNSUPPORTED,
              "%s: options.device asks for CUDA device %d; the NVIDIA driver shows no device (%s). See what nvidia-smi -L "
              "lists, and whether CUDA_VISIBLE_DEVICES hides it",
              function, device, error);
}

mhc_status create(const PluginHost& from, const mhc_context_options& options, std::unique_ptr<Backend>* backend) {
  constexpr const char* kName = "mhc_context_create";
  host = from;
  int device = options.device.device_id, count = 0;
  const char* none = device_count(&count);
  if (none || count == 0) return no_device(kName, device, none);
  if (device < 0 || device >= count) {
    return fail(MHC_INVALID_ARGUMENT,
                "%s: options.device.device_id is %d; expected 0 to %d, as many CUDA devices as the driver shows", kName, device,
                count - 1);
  }
  DeviceProperties properties;
  if (const char* error = device_properties(device, &properties)) {
    return fail(MHC_DEVICE_ERROR, "%s: CUDA device %d said: %s", kName, device, error);
  }
  if (properties.major < 8) {
    return fail(MHC_UNSUPPORTED,
                "%s: CUDA device %d (%s) has compute capability %d.%d; expected 8.0 or later: choose a newer device, or the CPU",
                kName, device, properties.name, properties.major, properties.minor);
  }
  std::unique_ptr<CudaBackend> made(new (std::nothrow) CudaBackend(device, properties));
  if (!made) return fail(MHC_OUT_OF_MEMORY, "%s: no memory for the CUDA backend", kName);
  const mhc_status status = made->start(kName, options.workspace);
  if (status != MHC_OK) return status;
  *backend = std::move(made);
  return MHC_OK;
}

}  // namespace
}  // namespace mhc::cuda

extern "C" __attribute__((visibility("default"))) const mhc::Plugin mhc_plugin = {MHC_PLUGIN_BUILD, mhc::cuda::count_devices,
                                                                                   mhc::cuda::create};
