// SPDX-License-Identifier: Apache-2.0
// Between libmhc and libmhc_cuda, two halves of one build: neither is meant to meet another version of the other.
#pragma once

#include "core/backend.h"

namespace mhc {

// What libmhc does for a plugin.
struct PluginHost {
  mhc_status (*fail)(mhc_status status, const char* sentence);
  void (*count_live_bytes)(long long change);
  const char* (*last_sentence)();
};

// The symbol "mhc_plugin" of libmhc_cuda.
struct Plugin {
  const char* build;  // has to be kPluginBuild
  int32_t (*device_count)();
  mhc_status (*create)(const PluginHost& host, const mhc_context_options& options, std::unique_ptr<Backend>* backend);
};

#define MHC_PLUGIN_TEXT_(x) #x
#define MHC_PLUGIN_TEXT(x) MHC_PLUGIN_TEXT_(x)
inline constexpr char kPluginBuild[] =
    MHC_PLUGIN_TEXT(MHC_VERSION_MAJOR) "." MHC_PLUGIN_TEXT(MHC_VERSION_MINOR) "." MHC_PLUGIN_TEXT(MHC_VERSION_PATCH);

// The CUDA library, opened on first use: nullptr, and the sentence of a failed status, where there is none.
const Plugin* cuda_plugin(const char** why);

// The CUDA backend, or a failed status.
mhc_status create_cuda_backend(const mhc_context_options& options, std::unique_ptr<Backend>* backend);

}  // namespace mhc
