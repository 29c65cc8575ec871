// SPDX-License-Identifier: Apache-2.0
// What a device has to offer. problem is the <Operation>Problem of the operation, checked.
#pragma once

#include <memory>

#include "core/arguments.h"
#include "core/operations.h"

namespace mhc {

class Backend {
 public:
  virtual ~Backend() = default;
  // Bytes of workspace that run will want.
  virtual size_t workspace(mhc_operation operation, const void* problem) = 0;
  virtual mhc_status run(mhc_operation operation, const void* problem, const Arguments& arguments, void* stream) = 0;
  virtual mhc_status reserve(size_t bytes) = 0;
  virtual void info(mhc_context_info* info) = 0;
  virtual mhc_status traffic(mhc_traffic* traffic) = 0;
};

// The CPU backend, or a failed status.
mhc_status create_cpu_backend(const mhc_context_options& options, std::unique_ptr<Backend>* backend);

}  // namespace mhc
