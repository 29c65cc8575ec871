// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/arguments.h"

namespace mhc {

// Copies a checked config; faults name config.<field>.
void read_config(Arguments& arguments, const mhc_config* given, mhc_config* config);
// The sinkhorn_* fields and iterations alone.
void read_sinkhorn_config(Arguments& arguments, const mhc_config* given, mhc_config* config);
// The rms_* fields and pre_eps alone.
void read_head_config(Arguments& arguments, const mhc_config* given, mhc_config* config);

// Rows of the projection: n*n + 2n, n! + 2n for MHC_LITE, 0 for RESIDUAL.
int64_t mix_count_of(const mhc_config& config);

}  // namespace mhc
