// SPDX-License-Identifier: Apache-2.0
// Finds and opens libmhc_cuda.
#include "core/plugin.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/memory.h"

namespace mhc {
namespace {

constexpr char kName[] = "libmhc_cuda.so";

struct Opened {
  const Plugin* plugin = nullptr;
  std::string why;  // a sentence, where plugin is nullptr
};

std::string beside_this_library() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&cuda_plugin), &info) || !info.dli_fname) return {};
  const char* slash = std::strrchr(info.dli_fname, '/');
  return slash ? std::string(info.dli_fname, slash + 1) + kName : std::string();
}

// True if the search is over, for better or worse.
bool open_at(const std::string& place, const char* whence, Opened* opened) {
  void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* words = dlerror();
    opened->why += "\n  " + place + " (" + whence + "): " + (words ? words : "the loader gave no reason");
    return false;
  }
  const auto* plugin = static_cast<const Plugin*>(dlsym(library, "mhc_plugin"));
  if (!plugin || std::strcmp(plugin->build, MHC_PLUGIN_BUILD) != 0) {
    opened->why += "\n  " + place + " (" + whence + "): " +
                   (plugin ? std::string("is of version ") + plugin->build : "is not mhc's CUDA library") + ", expected version " +
                   MHC_PLUGIN_BUILD;
    dlclose(library);
    return false;
  }
  opened->plugin = plugin;
  return true;
}

Opened open_plugin() {
  Opened opened;
  opened.why = "the CUDA backend could not be loaded; tried:";
  if (const char* given = std::getenv("MHC_CUDA_LIBRARY"); given && *given) {
    open_at(given, "MHC_CUDA_LIBRARY", &opened);  // who names a library does not want another
  } else {
    std::string beside = beside_this_library();
    if (beside.empty() || !open_at(beside, "beside libmhc", &opened)) open_at(kName, "the system's loader", &opened);
  }
  opened.why += "\nPut libmhc_cuda.so beside libmhc.so, or set MHC_CUDA_LIBRARY to it.";
  return opened;
}

}  // namespace

const Plugin* cuda_plugin(const char** why) {
  static const Opened opened = open_plugin();
  if (why) *why = opened.why.c_str();
  return opened.plugin;
}

mhc_status create_cuda_backend(const mhc_context_options& options, std::unique_ptr<Backend>* backend) {
  const char* why;
  const Plugin* plugin = cuda_plugin(&why);
  if (!plugin) return fail(MHC_LIBRARY_NOT_FOUND, "mhc_context_create: %s", why);
  const PluginHost host = {[](mhc_status status, const char* sentence) { return fail(status, "%s", sentence); },
                           count_live_bytes, last_sentence};
  return plugin->create(host, options, backend);
}

}  // namespace mhc
