// SPDX-License-Identifier: Apache-2.0
// The CPU backend: a pool, a workspace, and the kernels of one tier.
#include <sched.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include "core/backend.h"
#include "core/error.h"
#include "core/memory.h"
#include "cpu/counter.h"
#include "cpu/pool.h"
#include "cpu/tiers.h"

namespace mhc::cpu {
namespace {

constexpr size_t kLine = 64;
size_t lines(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

int usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  unsigned count = std::thread::hardware_concurrency();
  return count > 0 ? static_cast<int>(count) : 1;
}

// "AMD EPYC ..." of /proc/cpuinfo, or "CPU".
void cpu_name(char* name, size_t size) {
  std::snprintf(name, size, "CPU");
  FILE* file = std::fopen("/proc/cpuinfo", "r");
  if (!file) return;
  char line[256];
  while (std::fgets(line, sizeof line, file)) {
    if (std::strncmp(line, "model name", 10) != 0) continue;
    const char* value = std::strchr(line, ':');
    if (!value) continue;
    value += std::strspn(value, ": \t");
    std::snprintf(name, size, "%.*s", static_cast<int>(std::strcspn(value, "\n")), value);
    break;
  }
  std::fclose(file);
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(mhc_cpu_tier tier, int threads) : tier_(tier), kernels_(*find_tier(tier)), pool_(threads) {
    count_live_bytes(sizeof *this);
  }
  ~CpuBackend() override { count_live_bytes(-static_cast<long long>(sizeof *this)); }

  size_t workspace(mhc_operation operation, const void* problem) override {
    return total(kernels_.kernels[operation].space(problem, pool_.threads()));
  }

  mhc_status run(mhc_operation operation, const void* problem, const Arguments& arguments, void*) override {
    const Kernel& kernel = kernels_.kernels[operation];
    Space space = kernel.space(problem, pool_.threads());
    if (total(space) > memory_.size()) {
      return fail(MHC_WORKSPACE_TOO_SMALL,
                  "%s: the workspace has %zu bytes; expected %zu, call mhc_context_reserve(context, %zu) first",
                  arguments.function(), memory_.size(), total(space), total(space));
    }
    Job job{pool_, memory_.data(), memory_.data() + lines(space.shared), lines(space.per_thread)};
    if (tier_ == MHC_CPU_TIER_COUNTING) counter_.start(arguments);
    kernel.run(problem, job);
    if (tier_ == MHC_CPU_TIER_COUNTING) counter_.stop(space.per_thread, &traffic_);
    return MHC_OK;
  }

  mhc_status reserve(size_t bytes) override {
    if (memory_.grow(bytes)) return MHC_OK;
    return fail(MHC_OUT_OF_MEMORY, "mhc_context_reserve: bytes is %zu; there is no memory for that", bytes);
  }

  void info(mhc_context_info* info) override {
    info->device = {MHC_DEVICE_CPU, 0};
    info->threads = pool_.threads();
    info->cpu_tier = tier_;
    info->workspace = memory_.size();
    cpu_name(info->name, sizeof info->name);
  }

  mhc_status traffic(mhc_traffic* traffic) override {
    if (tier_ != MHC_CPU_TIER_COUNTING) {
      return fail(MHC_UNSUPPORTED,
                  "mhc_context_get_traffic: the context's tier is %s; only a context of MHC_CPU_TIER_COUNTING counts",
                  mhc_cpu_tier_name(tier_));
    }
    *traffic = traffic_;
    traffic->struct_size = sizeof *traffic;
    return MHC_OK;
  }

 private:
  size_t total(const Space& space) const {
    return lines(space.shared) + static_cast<size_t>(pool_.threads()) * lines(space.per_thread);
  }

  const mhc_cpu_tier tier_;
  const Tier& kernels_;
  Pool pool_;
  Memory memory_;
  Counter counter_;
  mhc_traffic traffic_ = {};
};

}  // namespace
}  // namespace mhc::cpu

mhc_status mhc::create_cpu_backend(const mhc_context_options& options, std::unique_ptr<Backend>* backend) {
  constexpr const char* kName = "mhc_context_create";
  mhc_cpu_tier tier = cpu::choose_tier(static_cast<mhc_cpu_tier>(options.cpu_tier));
  if (tier == MHC_CPU_TIER_AUTO) {
    return fail(MHC_UNSUPPORTED, "%s: options.cpu_tier is %d (%s); this %s", kName, options.cpu_tier,
                mhc_cpu_tier_name(options.cpu_tier),
                cpu::find_tier(static_cast<mhc_cpu_tier>(options.cpu_tier)) ? "CPU or its operating system cannot run it"
                                                                            : "build does not have it");
  }
  int threads = options.threads > 0 ? options.threads : cpu::usable_cpus();
  if (threads > 1024) threads = 1024;
  if (tier == MHC_CPU_TIER_COUNTING) threads = 1;
  try {
    *backend = std::make_unique<cpu::CpuBackend>(tier, threads);
  } catch (const std::bad_alloc&) {
    return fail(MHC_OUT_OF_MEMORY, "%s: no memory for the CPU backend", kName);
  } catch (const std::system_error& error) {
    return fail(MHC_DEVICE_ERROR, "%s: options.threads is %d; could not start that many threads: %s", kName, threads,
                error.what());
  }
  if (options.workspace == 0) return MHC_OK;
  if ((*backend)->reserve(options.workspace) == MHC_OK) return MHC_OK;
  backend->reset();
  return fail(MHC_OUT_OF_MEMORY, "%s: options.workspace is %zu; there is no memory for that", kName, options.workspace);
}
