// SPDX-License-Identifier: Apache-2.0
// mhc_bench [--threads N] [--rounds N] [--json FILE] [TxC ...]: limits and boundaries, in one run.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "boundary.h"
#include "limits.h"
#include "mhc/mhc.h"

using namespace mhc::bench;

namespace {

struct Options {
  int threads = std::max(1u, std::thread::hardware_concurrency());
  int rounds = 21;
  const char* json = nullptr;
  std::vector<std::pair<int64_t, int64_t>> shapes;
};

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: mhc_bench [--threads N] [--rounds N] [--json FILE] [TxC ...]\n");
  std::exit(2);
}

int positive(const char* text) {
  char* end;
  long value = text ? std::strtol(text, &end, 10) : 0;
  if (value < 1 || value > 100000 || *end) usage();
  return int(value);
}

Options parse(char** arguments) {
  Options options;
  for (char** at = arguments + 1; *at; ++at) {
    long long tokens, width;
    char rest;
    if (!std::strcmp(*at, "--threads")) {
      options.threads = positive(*++at);
    } else if (!std::strcmp(*at, "--rounds")) {
      options.rounds = positive(*++at);
    } else if (!std::strcmp(*at, "--json") && at[1]) {
      options.json = *++at;
    } else if (std::sscanf(*at, "%lldx%lld%c", &tokens, &width, &rest) == 2 && tokens > 0 && width > 0) {
      options.shapes.emplace_back(tokens, width);
    } else {
      usage();
    }
    if (!*at) usage();
  }
  if (options.shapes.empty()) options.shapes = {{2048, 2048}, {2048, 4096}, {64, 2048}, {1, 2048}};
  return options;
}

// What one second of the machine is worth at most, by median times.
struct Rates {
  double bytes;  // read and written, of the faster copy
  double multiply_adds;
};

void add_limits(std::vector<Contestant>& contestants, int threads) {
  constexpr size_t kBytes = size_t{128} << 20;  // of each buffer: larger than a last-level cache's share
  auto buffer = [] {
    auto* memory = static_cast<char*>(std::aligned_alloc(4096, kBytes));
    std::memset(memory, 1, kBytes);
    return std::shared_ptr<char>(memory, std::free);
  };
  std::shared_ptr<char> from = buffer(), to = buffer();
  int64_t adds = 0;
  double moved = 2.0 * kBytes;
  contestants.push_back({"copy, memcpy", moved, 0,
                         [=] { return 1e-9 * mhc_limit_copy(to.get(), from.get(), kBytes, threads); }});
  if (mhc_limit_stream(to.get(), from.get(), kBytes, threads) >= 0) {
    contestants.push_back({"copy, past the caches", moved, 0,
                           [=] { return 1e-9 * mhc_limit_stream(to.get(), from.get(), kBytes, threads); }});
  }
  contestants.push_back({"read", double(kBytes), 0, [=] { return 1e-9 * mhc_limit_read(from.get(), kBytes, threads); }});
  mhc_limit_multiply_adds(threads, &adds);
  contestants.push_back({"multiply-adds, fp32", 0, double(adds), [=] {
    int64_t count;
    return 1e-9 * mhc_limit_multiply_adds(threads, &count);
  }});
}

Rates rates_of(const std::vector<Contestant>& measured) {
  Rates rates{};
  for (const Contestant& each : measured) {
    if (each.name.rfind("copy", 0) == 0) rates.bytes = std::max(rates.bytes, each.bytes / each.median());
    if (each.name.rfind("multiply", 0) == 0) rates.multiply_adds = each.multiply_adds / each.median();
  }
  return rates;
}

double floor_of(const Contestant& each, const Rates& rates) {
  return std::max(each.bytes / rates.bytes, each.multiply_adds / rates.multiply_adds);
}

void print(const std::vector<Contestant>& measured, const Rates& rates) {
  std::printf("copy %.1f GB/s read and written; %.1f G fp32 multiply-adds/s\n\n", rates.bytes * 1e-9,
              rates.multiply_adds * 1e-9);
  std::printf("%-34s %10s %10s %10s %12s %12s %7s\n", "operation", "median us", "min", "max", "bytes floor", "adds floor",
              "ratio");
  for (const Contestant& each : measured) {
    std::printf("%-34s %10.1f %10.1f %10.1f %12.1f %12.1f %7.2f\n", each.name.c_str(), each.median() * 1e6,
                each.least() * 1e6, each.most() * 1e6, each.bytes / rates.bytes * 1e6,
                each.multiply_adds / rates.multiply_adds * 1e6, each.median() / floor_of(each, rates));
  }
}

void write(const std::vector<Contestant>& measured, const Rates& rates, const Options& options) {
  std::FILE* file = std::fopen(options.json, "w");
  if (!file) {
    std::perror(options.json);
    std::exit(1);
  }
  std::fprintf(file, "{\"threads\": %d, \"rounds\": %d, \"version\": \"%s\",\n", options.threads, options.rounds,
               mhc_version());
  std::fprintf(file, " \"copyBytesPerSecond\": %.4g, \"multiplyAddsPerSecond\": %.4g,\n \"operations\": [", rates.bytes,
               rates.multiply_adds);
  const char* between = "\n";
  for (const Contestant& each : measured) {
    std::fprintf(file, "%s  {\"name\": \"%s\", \"median\": %.4g, \"min\": %.4g, \"max\": %.4g, \"floor\": %.4g}", between,
                 each.name.c_str(), each.median(), each.least(), each.most(), floor_of(each, rates));
    between = ",\n";
  }
  std::fprintf(file, "\n ]}\n");
  std::fclose(file);
}

}  // namespace

int main(int, char** arguments) {
  Options options = parse(arguments);
  std::vector<Contestant> contestants;
  add_limits(contestants, options.threads);
  for (auto [tokens, width] : options.shapes) add_boundary(contestants, options.threads, tokens, width);
  run_rounds(contestants, 3, options.rounds);
  Rates rates = rates_of(contestants);
  print(contestants, rates);
  if (options.json) write(contestants, rates, options);
}
