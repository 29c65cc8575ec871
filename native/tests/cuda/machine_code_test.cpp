// SPDX-License-Identifier: Apache-2.0
// What nvcc made of the kernels: ptxas's report of each, which the build keeps, and the machine code of the pass.
#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Report {
  std::string architecture, function;
  int stack, spill_stores, spill_loads;
};

std::vector<fs::path> files_ending(const fs::path& folder, const std::string& end) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0) found.push_back(entry.path());
  }
  return found;
}

std::vector<Report> reports() {
  const std::regex compiling("Compiling entry function '([^']+)' for '([^']+)'"), properties("Function properties for (\\S+)"),
      numbers("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
  std::vector<Report> all;
  for (const fs::path& file : files_ending(MHC_CUDA_BUILD, ".ptxas")) {
    std::ifstream in(file);
    std::string architecture, function;
    std::smatch found;
    for (std::string line; std::getline(in, line);) {
      if (std::regex_search(line, found, compiling)) {
        function = found[1];
        architecture = found[2];
      } else if (std::regex_search(line, found, properties)) {
        function = found[1];
      } else if (std::regex_search(line, found, numbers)) {
        all.push_back({architecture, function, std::stoi(found[1]), std::stoi(found[2]), std::stoi(found[3])});
      }
    }
  }
  return all;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Kernels that may have a stack and spill, by parts of their names.
bool may_have_stack(const std::string& kernel) {
  const char* all[] = {"Li0E",                          // for any number of streams: they index their arrays
                       "activate_kernel", "backward_in_steps_cu",
                       "few_streams_kernel", "many_streams_kernel",  // of gain: divisions in double precision are calls
                       "pass_kernelIf",                 // fp32 streams: three products, and twice the registers for a row
                       "pass_backward_kernelIf",
                       "pass_backward_kernelINS_3f16E",  // a few bytes over 255 registers
                       "sinkhorn_large_backward_kernel", "birkhoff_kernel"};
  return std::any_of(std::begin(all), std::end(all), [&](const char* part) { return contains(kernel, part); });
}

TEST(MachineCode, keeps_the_kernels_of_four_streams_in_registers) {
  std::map<std::string, std::set<std::string>> seen;  // by architecture
  for (const Report& r : reports()) {
    seen[r.architecture].insert(r.function);
    if (may_have_stack(r.function)) continue;
    EXPECT_EQ(r.stack, 0) << "bytes of stack: " << r.function << " for " << r.architecture;
    EXPECT_EQ(r.spill_stores + r.spill_loads, 0) << "bytes spilled: " << r.function << " for " << r.architecture;
  }
  ASSERT_FALSE(seen.empty()) << "no reports in " << MHC_CUDA_BUILD;
  for (const auto& [architecture, functions] : seen) {
    for (const char* kernel : {"pass_kernelINS_4bf16ES", "post_kernelINS_4bf16ES", "pre_kernelINS_4bf16ES", "expand_kernelINS_4bf16ES",
                               "weighted_kernelINS_4bf16ES", "rmsnorm_kernelINS_4bf16E", "rmsnorm_backward_kernelINS_4bf16E",
                               "post_backward_kernelINS_4bf16ES", "sinkhorn_large_kernel"}) {
      EXPECT_TRUE(std::any_of(functions.begin(), functions.end(), [&](const std::string& f) { return contains(f, kernel); }))
          << kernel << " for " << architecture << " is not among the " << functions.size() << " reported";
    }
  }
}

// Machine code as nvcc leaves it.
class Cubin {
 public:
  explicit Cubin(const fs::path& file) : name_(file.string()) {
    std::ifstream in(file, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    header_ = read<Elf64_Ehdr>(0);
  }
  // 80, 90, 100
  unsigned architecture() const { return header_.e_flags >> (header_.e_ident[EI_ABIVERSION] >= 8 ? 8 : 0) & 0xff; }

  // How often each operation occurs in the functions whose names contain part: the low twelve bits of 128.
  std::map<unsigned, int> operations_in(const std::string& part) const {
    std::map<unsigned, int> count;
    const size_t names = section(header_.e_shstrndx).sh_offset;
    for (size_t i = 0; i < header_.e_shnum; ++i) {
      const Elf64_Shdr s = section(i);
      const std::string name = &bytes_.at(names + s.sh_name);
      if (name.rfind(".text.", 0) != 0 || !contains(name, part)) continue;
      for (size_t at = 0; at < s.sh_size; at += 16) ++count[read<uint16_t>(s.sh_offset + at) & 0xfff];
    }
    return count;
  }

 private:
  template <class T>
  T read(size_t at) const {
    if (at + sizeof(T) > bytes_.size()) throw std::runtime_error(name_ + " ends too early");
    T value;
    std::memcpy(&value, &bytes_[at], sizeof value);
    return value;
  }
  Elf64_Shdr section(size_t index) const { return read<Elf64_Shdr>(header_.e_shoff + index * header_.e_shentsize); }

  std::string name_;
  std::vector<char> bytes_;
  Elf64_Ehdr header_;
};

// Seen by comparing what nvcc 13.0 makes of a kernel with and without the instruction, for sm_80, sm_90a and sm_100.
constexpr unsigned kMma = 0x23c, kBulkCopy = 0x3ba;  // HMMA, UBLKCP

TEST(MachineCode, of_the_passes_has_tensor_cores_and_bulk_copies) {
  for (const char* pass : {"pass", "pass_backward"}) {
    const fs::path folder = fs::path(MHC_CUDA_BUILD) / "code" / pass;
    const std::vector<fs::path> cubins = files_ending(folder, ".cubin");
    ASSERT_FALSE(cubins.empty()) << "no machine code in " << folder;
    for (const fs::path& file : cubins) {
      const Cubin cubin(file);
      auto count = cubin.operations_in(std::string(pass) + "_kernel");
      EXPECT_GT(count[kMma], 0) << file;
      if (std::string(pass) != "pass") continue;  // the other has none
      EXPECT_EQ(count[kBulkCopy] > 0, cubin.architecture() >= 90) << file << ", sm_" << cubin.architecture();
    }
  }
}

}  // namespace
