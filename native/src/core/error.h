// SPDX-License-Identifier: Apache-2.0
// The per-thread sentence behind mhc_last_error().
#pragma once

#include "mhc/mhc.h"

namespace mhc {

// Stores the formatted sentence and returns status.
__attribute__((format(printf, 2, 3))) mhc_status fail(mhc_status status, const char* format, ...);
// The one stored last.
const char* last_sentence();

}  // namespace mhc
