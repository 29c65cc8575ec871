// SPDX-License-Identifier: Apache-2.0
// Where libmhc looks for the CUDA backend, and what it says when there is none. The library is opened once in a process, so
// each case has one of its own.
#include <dlfcn.h>
#include <stdlib.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "support.h"

using namespace mhc_test;

namespace {

constexpr int kAsExpected = 42;

// Asks for a CUDA context with that library; ends the process.
[[noreturn]] void ask(const char* library, mhc_status expected, const std::vector<const char*>& words) {
  setenv("MHC_CUDA_LIBRARY", library, 1);
  mhc_context_options options = {};
  options.struct_size = sizeof options;
  options.device = {MHC_DEVICE_CUDA, 0};
  mhc_context* context = nullptr;
  const mhc_status status = mhc_context_create(&options, &context);
  bool good = status == expected && (context == nullptr) == (status != MHC_OK);
  for (const char* word : words) good = good && std::strstr(mhc_last_error(), word);
  if (!good) std::fprintf(stderr, "status %d: %s\n", status, mhc_last_error());
  mhc_context_destroy(context);
  std::exit(good ? kAsExpected : 1);
}

TEST(Plugin, a_missing_library_is_named_with_the_fix) {
  EXPECT_EXIT(ask("/nowhere/libmhc_cuda.so", MHC_LIBRARY_NOT_FOUND,
                  {"mhc_context_create", "/nowhere/libmhc_cuda.so", "MHC_CUDA_LIBRARY", "No such file", "Put libmhc_cuda.so"}),
              testing::ExitedWithCode(kAsExpected), "");
}

TEST(Plugin, a_foreign_library_is_refused) {
  EXPECT_EXIT(ask(MHC_LIBRARY, MHC_LIBRARY_NOT_FOUND, {MHC_LIBRARY, "is not mhc's CUDA library", "0.1.0"}),
              testing::ExitedWithCode(kAsExpected), "");
}

TEST(Plugin, a_library_of_another_version_is_refused) {
  EXPECT_EXIT(ask(MHC_OTHER_VERSION, MHC_LIBRARY_NOT_FOUND, {MHC_OTHER_VERSION, "is of version 0.0.7", "expected version 0.1.0"}),
              testing::ExitedWithCode(kAsExpected), "");
}

// Whose structures may be others: nothing of it but that may be looked at.
TEST(Plugin, a_library_of_the_same_version_and_other_sources_is_refused) {
  EXPECT_EXIT(ask(MHC_OTHER_BUILD, MHC_LIBRARY_NOT_FOUND, {MHC_OTHER_BUILD, "is of version 0.1.0+000000000000", "expected version 0.1.0+"}),
              testing::ExitedWithCode(kAsExpected), "");
}

// With no library named: a libmhc of its own in a fresh folder, with this file beside it as libmhc_cuda.so unless it is empty.
// Ends the process.
[[noreturn]] void search(const std::string& beside, const std::vector<std::string>& words) {
  namespace fs = std::filesystem;
  unsetenv("MHC_CUDA_LIBRARY");
  std::string folder = (fs::temp_directory_path() / "mhc-plugin-XXXXXX").string();
  if (!mkdtemp(folder.data())) std::exit(2);
  const std::string own = folder + "/libmhc.so";
  fs::copy_file(MHC_LIBRARY, own);
  if (!beside.empty()) fs::copy_file(beside, folder + "/libmhc_cuda.so");
  void* library = dlopen(own.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) std::fprintf(stderr, "%s\n", dlerror());
  fs::remove_all(folder + "/libmhc.so");
  if (!library) std::exit(3);
  const auto create = reinterpret_cast<decltype(&mhc_context_create)>(dlsym(library, "mhc_context_create"));
  const auto last_error = reinterpret_cast<decltype(&mhc_last_error)>(dlsym(library, "mhc_last_error"));
  mhc_context_options options = {};
  options.struct_size = sizeof options;
  options.device = {MHC_DEVICE_CUDA, 0};
  mhc_context* context = nullptr;
  const mhc_status status = create(&options, &context);
  fs::remove_all(folder);
  bool good = status == MHC_LIBRARY_NOT_FOUND && context == nullptr;
  for (const std::string& word : words) good = good && std::strstr(last_error(), word.c_str());
  if (!good) std::fprintf(stderr, "status %d: %s\n", status, last_error());
  std::exit(good ? kAsExpected : 1);
}

TEST(Plugin, is_looked_for_beside_the_library_and_then_by_the_loader) {
  const std::vector<std::string> both = {"mhc-plugin-", "/libmhc_cuda.so (beside libmhc)", "\n  libmhc_cuda.so (the system's loader)", "Put libmhc_cuda.so"};
  EXPECT_EXIT(search("", both), testing::ExitedWithCode(kAsExpected), "");
  EXPECT_EXIT(search(MHC_OTHER_VERSION, {"/libmhc_cuda.so (beside libmhc): is of version 0.0.7"}), testing::ExitedWithCode(kAsExpected), "");
}

TEST(Plugin, no_library_means_no_device) {
  EXPECT_EXIT(
      {
        setenv("MHC_CUDA_LIBRARY", "/nowhere/libmhc_cuda.so", 1);
        std::exit(mhc_device_count(MHC_DEVICE_CUDA) == 0 ? kAsExpected : 1);
      },
      testing::ExitedWithCode(kAsExpected), "");
}

#ifdef MHC_CUDA_MODULE
// The real one: with a driver and a device there is a context, elsewhere the driver's reason.
TEST(Plugin, the_library_says_what_the_driver_says) {
  EXPECT_EXIT(
      {
        setenv("MHC_CUDA_LIBRARY", MHC_CUDA_MODULE, 1);
        if (mhc_device_count(MHC_DEVICE_CUDA) > 0) ask(MHC_CUDA_MODULE, MHC_OK, {});
        ask(MHC_CUDA_MODULE, MHC_UNSUPPORTED, {"CUDA device 0", "NVIDIA driver", "cudaError"});
      },
      testing::ExitedWithCode(kAsExpected), "");
}
#endif

}  // namespace
