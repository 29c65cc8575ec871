// SPDX-License-Identifier: Apache-2.0
// Between libmhc and libmhc_cuda, two halves of one build: neither is meant to meet another version of the other, nor one of
// the same version whose structures were others. The build gives both MHC_PLUGIN_BUILD, the version and a digest of mhc.h and
// of the headers here.
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
  const char* build;  // has to be MHC_PLUGIN_BUILD
  int32_t (*device_count)();
  mhc_status (*create)(const PluginHost& host, const mhc_context_options& options, std::unique_ptr<Backend>* backend);
};

// The CUDA library, opened on first use: nullptr, and the sentence of a failed status, where there is none.
const Plugin* cuda_plugin(const char** why);

// The CUDA backend, or a failed status.
mhc_status create_cuda_backend(const mhc_context_options& options, std::unique_ptr<Backend>* backend);

}  // namespace mhc
