// SPDX-License-Identifier: Apache-2.0
// libmhc exports the functions of mhc.h and nothing else, and needs nothing that a bare system does not have.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace {

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return "";
  std::string text;
  char buffer[4096];
  while (size_t count = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, count);
  return pclose(pipe) == 0 ? text : "";
}

std::set<std::string> all_matches(const std::string& text, const std::string& expression) {
  const std::regex regex(expression);
  std::set<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), regex); it != std::sregex_iterator(); ++it)
    found.insert((*it)[1]);
  return found;
}

TEST(ExportedSymbols, are_the_functions_of_the_header) {
  std::ostringstream header;
  header << std::ifstream(MHC_HEADER).rdbuf();
  const auto declared = all_matches(header.str(), R"(MHC_API [^;(]*\b(mhc_\w+)\()");
  ASSERT_GT(declared.size(), 30u);
  const std::string symbols = output_of("nm -D --defined-only " MHC_LIBRARY);
  ASSERT_FALSE(symbols.empty()) << "nm could not read " MHC_LIBRARY;
  EXPECT_EQ(declared, all_matches(symbols, R"([0-9a-f]+ [A-Za-z] (\S+))"));
}

TEST(ExportedSymbols, needs_the_c_library_alone) {
  const std::string dynamic = output_of("readelf -d " MHC_LIBRARY);
  ASSERT_FALSE(dynamic.empty()) << "readelf could not read " MHC_LIBRARY;
  const std::regex system("(libc|libm|libpthread|libdl|ld-linux[-a-z0-9_]*)\\.so\\.[0-9]+");
  for (const std::string& needed : all_matches(dynamic, R"(\(NEEDED\).*\[([^\]]+)\])"))
    EXPECT_TRUE(std::regex_match(needed, system)) << needed;
}

}  // namespace
