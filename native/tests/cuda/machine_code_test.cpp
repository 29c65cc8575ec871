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
#include <sstream>
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

// Kernels that may have a stack and spill, by two parts of their names, and how many bytes: what ptxas of nvcc 13.0 reports for
// the worst architecture, and a little more. The first row that fits counts.
struct Allowed {
  const char *part, *other;
  int stack, spilled;  // stores and loads
};
constexpr Allowed kAllowed[] = {
    {"start_kernel", "Li0E", 5300, 1300},  // Li0E: for any number of streams: they index their arrays
    {"", "Li0E", 2800, 560},
    {"activate_kernel", "", 3500, 0},
    {"", "backward_in_steps_cu", 1800, 80},
    {"few_streams_kernel", "", 16, 48},  // of gain: divisions in double precision are calls
    {"many_streams_kernel", "", 16, 128},
    {"", "pass_kernelIf", 160, 560},  // fp32 streams: three products, and twice the registers for a row
    {"", "pass_backward_kernelIf", 80, 160},
    {"sinkhorn_large_backward_kernel", "", 256, 0},
    {"birkhoff_kernel", "", 128, 0},
};

Allowed allowed(const std::string& kernel) {
  for (const Allowed& row : kAllowed)
    if (contains(kernel, row.part) && contains(kernel, row.other)) return row;
  return {"", "", 0, 0};
}

// "80-real 90a-real 80-virtual": those of that kind.
std::set<std::string> architectures(const std::string& kind) {
  std::set<std::string> found;
  std::istringstream all(MHC_CUDA_ARCHITECTURES);
  for (std::string one; all >> one;) {
    const size_t dash = one.find('-');
    if (dash == std::string::npos || one.substr(dash + 1) == kind) found.insert(one.substr(0, dash));
  }
  return found;
}

TEST(MachineCode, keeps_the_kernels_of_four_streams_in_registers) {
  std::map<std::string, std::set<std::string>> seen;  // by architecture
  for (const Report& r : reports()) {
    seen[r.architecture].insert(r.function);
    const Allowed most = allowed(r.function);
    EXPECT_LE(r.stack, most.stack) << "bytes of stack: " << r.function << " for " << r.architecture;
    EXPECT_LE(r.spill_stores + r.spill_loads, most.spilled) << "bytes spilled: " << r.function << " for " << r.architecture;
  }
  ASSERT_FALSE(seen.empty()) << "no reports in " << MHC_CUDA_BUILD;
  for (const std::string& architecture : architectures("real")) EXPECT_TRUE(seen.count("sm_" + architecture)) << architecture;
  for (const auto& [architecture, functions] : seen) {
    for (const char* kernel : {"pass_kernelINS_4bf16ES", "post_kernelINS_4bf16ES", "pre_kernelINS_4bf16ES", "expand_kernelINS_4bf16ES",
                               "weighted_kernelINS_4bf16ES", "rmsnorm_kernelINS_4bf16E", "rmsnorm_backward_kernelINS_4bf16E",
                               "post_backward_kernelINS_4bf16ES", "pass_backward_kernelINS_4bf16E", "pass_backward_kernelINS_3f16E",
                               "sinkhorn_large_kernel", "layers_kernelINS_4bf16E", "layers_kernelINS_3f16E"}) {
      EXPECT_TRUE(std::any_of(functions.begin(), functions.end(), [&](const std::string& f) { return contains(f, kernel); }))
          << kernel << " for " << architecture << " is not among the " << functions.size() << " reported";
    }
  }
}

// A file of machine code, as nvcc leaves it or the library that has it.
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

  // What each translation unit's kernels are there as: "sm_90" for machine code, "compute_80" for PTX.
  std::vector<std::set<std::string>> kinds_of_units() const {
    constexpr uint32_t kMagic = 0xba55ed50;
    std::vector<std::set<std::string>> units;
    const size_t names = section(header_.e_shstrndx).sh_offset;
    for (size_t i = 0; i < header_.e_shnum; ++i) {
      const Elf64_Shdr s = section(i);
      if (std::string(&bytes_.at(names + s.sh_name)) != ".nv_fatbin") continue;
      for (size_t at = s.sh_offset; at + 16 <= s.sh_offset + s.sh_size;) {
        if (read<uint32_t>(at) != kMagic) {  // between two units
          at += 8;
          continue;
        }
        const size_t first = at + read<uint16_t>(at + 6), end = first + read<uint64_t>(at + 8);
        units.emplace_back();
        for (at = first; at < end; at += read<uint32_t>(at + 4) + read<uint64_t>(at + 8)) {
          const bool ptx = read<uint16_t>(at) == 1;
          units.back().insert((ptx ? "compute_" : "sm_") + std::to_string(read<uint32_t>(at + 28)));
        }
        at = end;
      }
    }
    return units;
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

// For the A100, Hopper and Blackwell, and PTX for what comes later, unless the build asks for others.
TEST(MachineCode, is_there_for_each_architecture) {
  std::set<std::string> expected;
  for (const std::string& one : architectures("real")) expected.insert("sm_" + std::to_string(std::stoi(one)));
  for (const std::string& one : architectures("virtual")) expected.insert("compute_" + std::to_string(std::stoi(one)));
  const auto units = Cubin(MHC_CUDA_MODULE).kinds_of_units();
  EXPECT_GT(units.size(), 20u);
  for (const auto& kinds : units) EXPECT_EQ(kinds, expected);
}

// Seen by comparing what nvcc 13.0 makes of a kernel with and without the instruction, for sm_80, sm_90a and sm_100.
constexpr unsigned kMma = 0x23c, kBulkCopy = 0x3ba;  // HMMA, UBLKCP

TEST(MachineCode, of_the_passes_has_tensor_cores_and_bulk_copies) {
  struct Pass {
    const char *source, *kernel;
    bool bulk;
  };
  for (const Pass& pass : {Pass{"pass", "pass_kernel", true}, Pass{"layers_pass", "layers_kernel", true},
                           Pass{"pass_backward", "pass_backward_kernel", false}}) {
    const fs::path folder = fs::path(MHC_CUDA_BUILD) / "code" / pass.source;
    const std::vector<fs::path> cubins = files_ending(folder, ".cubin");
    ASSERT_FALSE(cubins.empty()) << "no machine code in " << folder;
    for (const fs::path& file : cubins) {
      const Cubin cubin(file);
      auto count = cubin.operations_in(pass.kernel);
      EXPECT_GT(count[kMma], 0) << file;
      if (!pass.bulk) continue;
      EXPECT_EQ(count[kBulkCopy] > 0, cubin.architecture() >= 90) << file << ", sm_" << cubin.architecture();
    }
  }
}

}  // namespace
