// SPDX-License-Identifier: Apache-2.0
// From a caller's argument block to a checked problem: one overload an operation.
#pragma once

#include "core/arguments.h"
#include "core/operations.h"

namespace mhc {

#define MHC_READ(name, NAME, Type) \
  void read_arguments(Arguments& arguments, const mhc_##name##_args& args, Type##Problem* problem);
MHC_OPERATIONS(MHC_READ)
#undef MHC_READ

}  // namespace mhc
