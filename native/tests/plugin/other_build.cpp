// SPDX-License-Identifier: Apache-2.0
// A libmhc_cuda of a build that never was.
#include "core/plugin.h"

extern "C" __attribute__((visibility("default"))) const mhc::Plugin mhc_plugin = {MHC_PLUGIN_BUILD, nullptr, nullptr};
