// SPDX-License-Identifier: Apache-2.0
#include "core/error.h"

#include <cstdarg>
#include <cstdio>

namespace mhc {
namespace {
thread_local char message[1024] = "";
}

mhc_status fail(mhc_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}

const char* last_sentence() { return message; }

}  // namespace mhc

const char* mhc_last_error(void) { return mhc::last_sentence(); }

const char* mhc_status_name(int32_t status) {
  switch (status) {
    case MHC_OK: return "MHC_OK";
    case MHC_INVALID_ARGUMENT: return "MHC_INVALID_ARGUMENT";
    case MHC_UNSUPPORTED: return "MHC_UNSUPPORTED";
    case MHC_WORKSPACE_TOO_SMALL: return "MHC_WORKSPACE_TOO_SMALL";
    case MHC_OUT_OF_MEMORY: return "MHC_OUT_OF_MEMORY";
    case MHC_DEVICE_ERROR: return "MHC_DEVICE_ERROR";
    case MHC_LIBRARY_NOT_FOUND: return "MHC_LIBRARY_NOT_FOUND";
    case MHC_INTERNAL: return "MHC_INTERNAL";
  }
  return "MHC_STATUS_UNKNOWN";
}
