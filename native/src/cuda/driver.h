// SPDX-License-Identifier: Apache-2.0
// What is said where there is no CUDA device to be had. runtime_gpu.cu has it of the driver, the tests of their own.
#pragma once

namespace mhc::cuda {

// As CUDA counts versions: 13020 is 13.2. installed is 0 without a driver; needed is the oldest one that will do.
struct DriverVersions {
  int installed, needed;
};
DriverVersions driver_versions();

}  // namespace mhc::cuda
